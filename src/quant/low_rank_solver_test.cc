// Truncated SVD, plain and by inputs, against tools/golden/make_lowrank.py.
#include "quant/low_rank_solver.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "nn/test_golden.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

double relative(const Tensor& found, const Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

class LowRank : public ::testing::TestWithParam<const char*> {
 protected:
  /// Factors of the case that the test is about.
  LowRankFactors factors(std::int64_t rank) const {
    const std::string name = GetParam();
    if (name == "plain") return low_rank(w_, rank);
    const std::string inputs = name == "aware" ? "x" : name.substr(6) + "/x";
    const Tensor rows = golden_.get(inputs).to(torch::kFloat64).flatten(0, 1);
    return low_rank_aware(w_, rank, rows.t().matmul(rows), name == "aware" ? 0.0 : 0.01);
  }

  testing::GoldenTensors golden_{testing::golden("rivals/lowrank.safetensors")};
  Tensor w_ = golden_.get("W").to(torch::kFloat64);
};

TEST_P(LowRank, ProductsAreTheReferences) {
  for (const std::int64_t rank : {1, 5, 12}) {
    const auto [a, b] = factors(rank);
    EXPECT_EQ(a.size(1), rank);
    EXPECT_LT(relative(a.matmul(b),
                       golden_.get(std::string(GetParam()) + "/weight_" + std::to_string(rank))),
              1e-9);
  }
  const auto [a, b] = factors(5);
  const auto rounded = [](const Tensor& t) { return t.to(torch::kFloat16).to(torch::kFloat64); };
  EXPECT_LT(
      relative(rounded(a).matmul(rounded(b)), golden_.get(std::string(GetParam()) + "/f16_5")),
      1e-9);
}

INSTANTIATE_TEST_SUITE_P(Cases, LowRank,
                         ::testing::Values("plain", "aware", "aware_dead", "aware_few"));

TEST(LowRankAware, InputsThatAreAllZeroSayNothing) {
  const Tensor w = torch::randn({5, 7}, torch::kFloat64);
  const LowRankFactors expected = low_rank(w, 3);
  const LowRankFactors found = low_rank_aware(w, 3, torch::zeros({7, 7}, torch::kFloat64), 1e-6);
  EXPECT_TRUE(torch::equal(found.a, expected.a));
  EXPECT_TRUE(torch::equal(found.b, expected.b));
}

TEST(LowRankRank, TakesNoMoreThanTheMatrixItStandsFor) {
  const testing::GoldenTensors golden(testing::golden("rivals/lowrank.safetensors"));
  const Tensor table = golden.get("ranks");
  const auto* row = table.const_data_ptr<std::int32_t>();
  int compared = 0;
  for (std::int64_t i = 0; i < table.size(0); i += 5, row += 20) {
    // The first of each shape's five has the bytes of a 1-bit layer, but for words of 64 bits.
    if (row[1] % 64 != 0 || row[3] == 0) continue;
    EXPECT_EQ(rank_for(1, row[0], row[1]), row[3]) << row[0] << " x " << row[1];
    ++compared;
  }
  EXPECT_GT(compared, 3);
  EXPECT_EQ(rank_for(1, 1, 1), 1);
  EXPECT_EQ(rank_for(8, 4, 1000), 2);  // 4 x 1003 bytes and two numbers, 2008 bytes a component
}

TEST(LowRankAware, ASingularMomentIsAnError) {
  const Tensor w = torch::randn({3, 4}, torch::kFloat64);
  Tensor moment = torch::eye(4, torch::kFloat64);
  moment[2][2] = 0;
  EXPECT_THROW(low_rank_aware(w, 2, moment, 0), Error);
}

}  // namespace
}  // namespace onebit::quant
