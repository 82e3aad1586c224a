#include "report/paired.h"

#include <cmath>
#include <gtest/gtest.h>

namespace onebit::report {
namespace {

TaskSamples samples(const std::vector<std::pair<int, double>>& scores) {
  TaskSamples result;
  for (const auto& [document, score] : scores) result[document].scores["acc"] = score;
  return result;
}

TEST(ScorePairs, OfDocumentsThatBothHave) {
  const TaskSamples base = samples({{0, 1}, {1, 0}, {3, 1}});
  TaskSamples model = samples({{1, 1}, {2, 0}, {3, 0}});
  EXPECT_EQ(score_pairs(base, model, "acc"), (std::vector<ScorePair>{{0, 1}, {1, 0}}));
  EXPECT_TRUE(score_pairs(base, model, "acc_norm").empty());
  model[3].scores.clear();
  EXPECT_EQ(score_pairs(base, model, "acc"), (std::vector<ScorePair>{{0, 1}}));
}

TEST(PairedDifference, MeanErrorAndCounts) {
  // Differences 0, 1, 0, 0: mean 1/4, s^2 = (3/16 + 9/16) / 3 = 1/4, error 1/2 / 2.
  const std::vector<ScorePair> pairs = {{1, 1}, {0, 1}, {1, 1}, {0, 0}};
  const PairedDifference difference = paired_difference(pairs);
  EXPECT_EQ(difference.documents, 4);
  EXPECT_DOUBLE_EQ(difference.mean, 0.25);
  EXPECT_DOUBLE_EQ(difference.error, 0.25);
  EXPECT_EQ(difference.only_model, 1);
  EXPECT_EQ(difference.only_base, 0);
  EXPECT_DOUBLE_EQ(*difference.z(), 1);
  EXPECT_NEAR(*difference.p(), 0.31731050786291415, 1e-15);  // of the normal distribution's tables
}

TEST(PairedDifference, IsAntisymmetric) {
  const std::vector<ScorePair> pairs = {{1, 0}, {0, 1}, {1, 0}, {1, 0}, {0, 0}};
  std::vector<ScorePair> swapped;
  swapped.reserve(pairs.size());
  for (const auto& [base, model] : pairs) swapped.emplace_back(model, base);
  const PairedDifference one = paired_difference(pairs);
  const PairedDifference two = paired_difference(swapped);
  EXPECT_DOUBLE_EQ(one.mean, -two.mean);
  EXPECT_DOUBLE_EQ(one.error, two.error);
  EXPECT_EQ(one.only_model, two.only_base);
  EXPECT_DOUBLE_EQ(*one.p(), *two.p());
}

TEST(PairedDifference, OfOneDocumentOrOfEqualDifferencesHasNoZ) {
  EXPECT_FALSE(paired_difference(std::vector<ScorePair>{{0, 1}}).z());
  const PairedDifference same = paired_difference(std::vector<ScorePair>{{0, 1}, {0, 1}});
  EXPECT_EQ(same.mean, 1);
  EXPECT_FALSE(same.z());
  EXPECT_FALSE(same.p());
}

TEST(PairedDifference, AverageOfTasks) {
  const PairedDifference a{
      .documents = 10, .mean = 0.1, .error = 0.03, .only_model = 2, .only_base = 1};
  const PairedDifference b{
      .documents = 30, .mean = -0.2, .error = 0.04, .only_model = 3, .only_base = 9};
  const PairedDifference both = average(std::vector<PairedDifference>{a, b});
  EXPECT_EQ(both.documents, 40);
  EXPECT_DOUBLE_EQ(both.mean, -0.05);
  EXPECT_DOUBLE_EQ(both.error, 0.025);
  EXPECT_EQ(both.only_model, 5);
  EXPECT_EQ(both.only_base, 10);
}

}  // namespace
}  // namespace onebit::report
