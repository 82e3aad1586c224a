// Shares of a budget against all that there are.
#include "quant/budget.h"

#include <algorithm>
#include <gmock/gmock.h>

#include "base/error.h"
#include "base/rng.h"

namespace onebit::quant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Matrices = std::vector<std::vector<Choice>>;

double cost(const Matrices& matrices, const std::vector<std::size_t>& chosen) {
  double sum = 0;
  for (std::size_t m = 0; m < matrices.size(); ++m) sum += matrices[m][chosen[m]].cost;
  return sum;
}

std::uint64_t bytes(const Matrices& matrices, const std::vector<std::size_t>& chosen) {
  std::uint64_t sum = 0;
  for (std::size_t m = 0; m < matrices.size(); ++m) sum += matrices[m][chosen[m]].bytes;
  return sum;
}

/// The least cost of all combinations.
double least_cost(const Matrices& matrices, std::uint64_t budget) {
  double least = 1e300;
  std::vector<std::size_t> chosen(matrices.size(), 0);
  while (true) {
    if (bytes(matrices, chosen) <= budget) least = std::min(least, cost(matrices, chosen));
    std::size_t m = 0;
    while (m < matrices.size() && ++chosen[m] == matrices[m].size()) chosen[m++] = 0;
    if (m == matrices.size()) return least;
  }
}

TEST(ShareBudget, SensitiveMatricesGetTheBits) {
  const Matrices matrices = {{{10, 5}, {20, 1}}, {{10, 0.5}, {20, 0.1}}, {{10, 3}, {20, 2}}};
  EXPECT_THAT(share_budget(matrices, 30), ElementsAre(0, 0, 0));
  EXPECT_THAT(share_budget(matrices, 39), ElementsAre(0, 0, 0));
  EXPECT_THAT(share_budget(matrices, 40), ElementsAre(1, 0, 0));
  EXPECT_THAT(share_budget(matrices, 50), ElementsAre(1, 0, 1));
  EXPECT_THAT(share_budget(matrices, 1000), ElementsAre(1, 1, 1));
}

TEST(ShareBudget, MoreBytesThatCostMoreAreNotTaken) {
  EXPECT_THAT(share_budget(Matrices{{{10, 1}, {20, 2}, {30, 1}}}, 100), ElementsAre(0));
  EXPECT_THAT(share_budget(Matrices{{{20, 1}, {20, 0.5}, {10, 3}}}, 20), ElementsAre(1));
}

TEST(ShareBudget, IsWithinOneStepOfTheBest) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    Matrices matrices(5);
    std::uint64_t most = 0;
    double largest_step = 0;
    for (std::vector<Choice>& choices : matrices) {
      std::uint64_t size = 1 + rng.below(10);
      double divergence = 10 * rng.uniform();
      for (int i = 0; i < 4; ++i) {
        choices.push_back({size, divergence});
        size += 1 + rng.below(10);
        divergence *= rng.uniform();
      }
      largest_step = std::max(largest_step, choices.front().cost - choices.back().cost);
      most += choices.back().bytes;
    }
    std::uint64_t least = 0;
    for (const auto& choices : matrices) least += choices.front().bytes;
    for (std::uint64_t budget = least; budget <= most; budget += 3) {
      const auto chosen = share_budget(matrices, budget);
      EXPECT_LE(bytes(matrices, chosen), budget);
      EXPECT_LE(cost(matrices, chosen), least_cost(matrices, budget) + largest_step);
    }
    EXPECT_EQ(cost(matrices, share_budget(matrices, most)), least_cost(matrices, most));
  }
}

TEST(ShareBudget, TooLittleIsAnError) {
  EXPECT_THAT(
      [] {
        share_budget(Matrices{{{10, 1}, {20, 0}}, {{7, 1}}}, 16);
      },
      ThrowsMessage<Error>(HasSubstr("found 16 bytes for the matrices, expected at least 17")));
}

}  // namespace
}  // namespace onebit::quant
