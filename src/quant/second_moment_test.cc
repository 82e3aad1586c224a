#include "quant/second_moment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "base/error.h"

namespace onebit::quant {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

constexpr double kDamping = 0.01;

Tensor moment_of(std::int64_t inputs, std::int64_t tokens) {
  at::manual_seed(static_cast<std::uint64_t>(inputs));
  const Tensor x = torch::randn({tokens, inputs}, torch::kFloat64);
  return x.t().matmul(x).contiguous();
}

Tensor damped(const Tensor& h) {
  return h + kDamping * h.diagonal().mean() * torch::eye(h.size(0), torch::kFloat64);
}

double largest(const Tensor& t) { return t.abs().max().item<double>(); }

/// Below, at and above the widths that are worked on at a time.
class Sizes : public ::testing::TestWithParam<std::int64_t> {};

// Sums of n products, each of size |H| at most: rounding of 2^-53 a sum.
TEST_P(Sizes, FactorsMultiplyToTheMoment) {
  const torch::NoGradGuard no_grad;
  const std::int64_t n = GetParam();
  const Tensor h = moment_of(n, 2 * n);
  const Tensor lower = damped_factor(h.clone(), kDamping);
  EXPECT_TRUE(torch::equal(lower, lower.tril()));
  EXPECT_LE(largest(lower.matmul(lower.t()) - damped(h)),
            1e-15 * static_cast<double>(n) * largest(h));

  // The inverse's error is that of the condition number, at most some 1 / damping, times as much.
  const Tensor upper = inverse_factor(h.clone(), kDamping);
  EXPECT_TRUE(torch::equal(upper, upper.triu()));
  EXPECT_TRUE((upper.diagonal() > 0).all().item<bool>());
  EXPECT_LE(largest(upper.t().matmul(upper).matmul(damped(h)) - torch::eye(n, torch::kFloat64)),
            1e-12 * static_cast<double>(n));
  const Tensor inverse = at::cholesky_inverse(at::linalg_cholesky(damped(h)));
  EXPECT_LE(largest(upper - at::linalg_cholesky(inverse).t()),
            1e-12 * static_cast<double>(n) * largest(upper));
}
INSTANTIATE_TEST_SUITE_P(SecondMoment, Sizes, ::testing::Values(1, 2, 255, 256, 257, 600));

TEST(SecondMoment, FactorsTakeTheMomentsMemory) {
  const torch::NoGradGuard no_grad;
  for (const auto& factor : {damped_factor, inverse_factor}) {
    Tensor h = moment_of(300, 600);
    const void* memory = h.const_data_ptr();
    EXPECT_EQ(factor(std::move(h), kDamping).const_data_ptr(), memory);
  }
}

TEST(SecondMoment, OneThatIsNotPositiveDefinite) {
  const torch::NoGradGuard no_grad;
  for (const auto& factor : {damped_factor, inverse_factor}) {
    Tensor h = moment_of(300, 600);
    h[270] = 0;
    h.select(1, 270).zero_();
    try {
      factor(h.clone(), 0);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNumeric);
      EXPECT_THAT(error.what(), HasSubstr("not positive definite with damping 0"));
    }
    Tensor w = torch::ones({2, 300}, torch::kFloat64);
    drop_dead_columns(w, h.diagonal());
    EXPECT_EQ(w.sum().item<double>(), 2 * 299);
    EXPECT_TRUE(factor(std::move(h), 0).isfinite().all().item<bool>());
  }
}

TEST(SecondMoment, Permuted) {
  const Tensor h = moment_of(37, 50);
  const Tensor order = torch::randperm(37, torch::kInt64);
  EXPECT_TRUE(torch::equal(permuted(h, order), h.index_select(0, order).index_select(1, order)));
}

}  // namespace
}  // namespace onebit::quant
