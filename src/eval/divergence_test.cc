#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace onebit::eval {
namespace {

using Row = std::vector<float>;

/// Logits as models have them: a few likely tokens, many that are not.
Row likely_row(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  Row row(size);
  for (float& z : row) z = static_cast<float>(12 * std::pow(rng.uniform(), 6) - 4 * rng.uniform());
  return row;
}

Row perturbed(const Row& row, double width, std::uint64_t seed) {
  Rng rng(seed);
  Row result = row;
  for (float& z : result) z += static_cast<float>(width * (2 * rng.uniform() - 1));
  return result;
}

std::vector<long double> log_softmax(const Row& row) {
  const float max = *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (const float z : row) sum += std::exp(static_cast<long double>(z) - max);
  std::vector<long double> result;
  for (const float z : row) result.push_back(static_cast<long double>(z) - max - std::log(sum));
  return result;
}

long double exact_kl(const Row& model, const Row& teacher) {
  const auto log_q = log_softmax(model);
  const auto log_p = log_softmax(teacher);
  long double kl = 0;
  for (std::size_t i = 0; i < model.size(); ++i) kl += std::exp(log_p[i]) * (log_p[i] - log_q[i]);
  return kl;
}

std::vector<std::uint16_t> encode(const Row& row) {
  std::vector<std::uint16_t> words(log_prob_row_words(static_cast<std::int64_t>(row.size())), 77);
  encode_log_probs(row, log_sum_exp(row), words);
  return words;
}

TEST(Divergence, MatchesAnEvaluationInLongDouble) {
  for (const std::size_t size : {1U, 2U, 5U, 8U, 31U, 512U, 49152U}) {
    for (const double width : {0.0, 1e-3, 0.3, 5.0}) {
      const Row teacher = likely_row(size, size);
      const Row model = perturbed(teacher, width, size + 1);
      const PositionScore score = score_position(model, teacher, static_cast<int>(size / 2));
      // divergence.h: twice the bound of log_sum_exp, and 2^-21 of the mean difference.
      const double bound =
          (8 + 2 * std::log(static_cast<double>(size))) * 0x1p-24 + width * 0x1p-21;
      EXPECT_NEAR(score.kl, static_cast<double>(exact_kl(model, teacher)), bound) << size;
      EXPECT_NEAR(score.nll, static_cast<double>(-log_softmax(model)[size / 2]), bound);
      EXPECT_NEAR(score.teacher_nll, static_cast<double>(-log_softmax(teacher)[size / 2]), bound);
      if (width == 0.0) {
        EXPECT_EQ(score.kl, 0);
      }
    }
  }
}

TEST(Divergence, WithoutATeacherOnlyTheModelIsScored) {
  const Row model = likely_row(100, 3);
  const PositionScore score = score_position(model, 7);
  EXPECT_EQ(score.nll, score_position(model, perturbed(model, 1, 4), 7).nll);
  EXPECT_EQ(score.kl, 0);
}

TEST(Divergence, SameTopIsTheFirstOfEquals) {
  const Row model = {0, 3, 3, 1, 2};
  EXPECT_TRUE(score_position(model, Row{0, 9, 1, 9, 9}, 0).same_top);
  EXPECT_FALSE(score_position(model, Row{0, 1, 9, 9, 1}, 0).same_top);
  const auto same = encode({0, 9, 1, 9, 9});
  const auto other = encode({0, 1, 9, 9, 1});
  EXPECT_TRUE(score_position(model, decode_log_probs(same, 5), 0).same_top);
  EXPECT_FALSE(score_position(model, decode_log_probs(other, 5), 0).same_top);
}

TEST(Divergence, SaysWhoseLogitsAreNotFinite) {
  const Row good = {1, 2, 3};
  const Row bad = {1, std::numeric_limits<float>::infinity(), 3};
  EXPECT_TRUE(std::isnan(score_position(bad, 0).nll));
  EXPECT_TRUE(std::isnan(score_position(bad, good, 0).nll));
  EXPECT_FALSE(std::isnan(score_position(good, bad, 0).nll));
  EXPECT_TRUE(std::isnan(score_position(good, bad, 0).kl));
  const auto row = encode(good);
  EXPECT_TRUE(std::isnan(score_position(bad, decode_log_probs(row, 3), 0).nll));
}

TEST(Divergence, TokensThatAModelExcludesCostNothing) {
  Row teacher = likely_row(40, 9);
  teacher[11] = std::numeric_limits<float>::lowest();
  Row model = perturbed(teacher, 0.1, 10);
  model[11] = -30;
  const double expected = static_cast<double>(exact_kl(model, teacher));
  EXPECT_NEAR(score_position(model, teacher, 0).kl, expected, 1e-6);
}

TEST(LogProbRow, RoundsWithinHalfAStep) {
  for (const std::size_t size : {1U, 2U, 3U, 4U, 7U, 9U, 512U, 1001U}) {
    for (const double stretch : {1.0, 0.05, 4.0}) {
      Row logits = likely_row(size, size + 40);
      for (float& z : logits) z *= static_cast<float>(stretch);
      const auto words = encode(logits);
      const LogProbRow row = decode_log_probs(words, static_cast<std::int64_t>(size));
      EXPECT_TRUE(plausible(row));
      EXPECT_EQ(row.codes.size(), size);
      EXPECT_LE(row.scale, 16.0F / 65535 * (1 + 0x1p-22F));
      EXPECT_EQ(words.size() % 2, 0U);
      if (size % 2 == 1) {
        EXPECT_EQ(words.back(), 0);
      }
      const auto expected = log_softmax(logits);
      const float max = *std::max_element(logits.begin(), logits.end());
      for (std::size_t i = 0; i < size; ++i) {
        if (logits[i] < max - 16) {
          EXPECT_EQ(row.codes[i], 0);
          EXPECT_LE(row.log_prob(i), kLeastLogProb + 1e-5F);
        } else {
          // Half a step, and some roundings of values below 32 in f32.
          EXPECT_NEAR(row.log_prob(i), static_cast<double>(expected[i]),
                      row.scale / 2 + 4 * 0x1p-20)
              << i << " of " << size;
        }
      }
    }
  }
}

TEST(LogProbRow, EqualLogits) {
  const auto words = encode(Row(7, 3.0F));
  const LogProbRow row = decode_log_probs(words, 7);
  EXPECT_TRUE(plausible(row));
  for (std::size_t i = 0; i < 7; ++i) EXPECT_NEAR(row.log_prob(i), -std::log(7.0), 1e-6);
}

/// The layout is llama.cpp's, whose log_softmax(…, uint16_t *, …) these lines are, in
/// tools/perplexity.
TEST(LogProbRow, IsWhatLlamaCppWrites) {
  const Row logits = likely_row(513, 5);
  const float max = *std::max_element(logits.begin(), logits.end());
  const float min = std::max(*std::min_element(logits.begin(), logits.end()), max - 16);
  double sum = 0;
  for (const float z : logits) sum += std::exp(z - max);
  const auto log_sum = static_cast<float>(std::log(sum));
  const float scale = (max - min) / 65535.0F;
  const float inverse = 1 / scale;
  const auto words = encode(logits);
  const LogProbRow row = decode_log_probs(words, 513);
  EXPECT_EQ(row.scale, scale);
  EXPECT_NEAR(row.least, min - max - log_sum, 4e-6);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float steps = logits[i] > min ? inverse * (logits[i] - min) : 0.0F;
    EXPECT_EQ(row.codes[i], static_cast<std::uint16_t>(std::nearbyint(steps)));
  }
  EXPECT_EQ(words.size(), 4U + 514U);
}

TEST(LogProbRow, GarbageIsNotPlausible) {
  const Row logits = likely_row(64, 8);
  const auto words = encode(logits);
  const auto with = [&](float scale, float least) {
    return LogProbRow{scale, least, decode_log_probs(words, 64).codes};
  };
  const LogProbRow row = decode_log_probs(words, 64);
  EXPECT_TRUE(plausible(row));
  EXPECT_FALSE(plausible(with(-row.scale, row.least)));
  EXPECT_FALSE(plausible(with(2 * row.scale + 1e-3F, row.least)));
  EXPECT_FALSE(plausible(with(row.scale, row.least + 5)));
  EXPECT_FALSE(plausible(with(row.scale, row.least - 5)));
  EXPECT_FALSE(plausible(with(std::nanf(""), row.least)));
  EXPECT_FALSE(plausible(with(row.scale, std::nanf(""))));
  EXPECT_FALSE(plausible(with(0, 0)));
  EXPECT_FALSE(plausible(with(row.scale, -std::numeric_limits<float>::infinity())));
}

/// What 16 bits and the bound of e^-16 do to a divergence: each p is off by a factor of 1 ± 1.3e-4,
/// the mean of which over a row, and over rows, is far smaller.
TEST(LogProbRow, DivergenceFromRoundedRows) {
  for (const double width : {0.0, 0.1, 1.0}) {
    double live = 0;
    double rounded = 0;
    constexpr int kRows = 50;
    for (int n = 0; n < kRows; ++n) {
      const auto seed = static_cast<std::uint64_t>(n);
      const Row teacher = likely_row(8192, seed + 100);
      const Row model = perturbed(teacher, width, seed + 200);
      const auto words = encode(teacher);
      const PositionScore a = score_position(model, teacher, n);
      const PositionScore b = score_position(model, decode_log_probs(words, 8192), n);
      EXPECT_NEAR(a.kl, b.kl, 1.3e-4 * (1 + width));
      EXPECT_EQ(a.nll, b.nll);
      EXPECT_NEAR(a.teacher_nll, b.teacher_nll, 1.3e-4);
      EXPECT_EQ(a.same_top, b.same_top);
      live += a.kl / kRows;
      rounded += b.kl / kRows;
    }
    EXPECT_NEAR(live, rounded, 1e-5 * (1 + width)) << width;
  }
}

}  // namespace
}  // namespace onebit::eval
