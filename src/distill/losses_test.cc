// The loss of the block-wise stage, against its definition. The other losses are held against a
// PyTorch script in training_golden_test.cc.
#include "distill/losses.h"

#include <cmath>
#include <gtest/gtest.h>
#include <torch/utils.h>

namespace onebit::distill {
namespace {

using torch::Tensor;

TEST(RelativeError, IsTheMeanOverTokens) {
  // Two tokens: errors 1 and 4 + 4, targets of squared norm 4 and 25.
  const Tensor teacher = torch::tensor({{{2.0, 0.0}, {3.0, 4.0}}}, torch::kFloat64);
  const Tensor student = torch::tensor({{{2.0, 1.0}, {5.0, 2.0}}}, torch::kFloat64);
  EXPECT_DOUBLE_EQ(relative_error(student, teacher).item<double>(), (1.0 / 4 + 8.0 / 25) / 2);
  EXPECT_EQ(relative_error(teacher, teacher).item<double>(), 0);
}

TEST(RelativeError, ScalesWithTheErrorOnly) {
  torch::manual_seed(1);
  const Tensor teacher = torch::randn({2, 3, 5}, torch::kFloat64);
  const Tensor student = teacher + 0.1 * torch::randn({2, 3, 5}, torch::kFloat64);
  const double once = relative_error(student, teacher).item<double>();
  // A token's size does not matter, only its relative error.
  const Tensor size = torch::rand({2, 3, 1}, torch::kFloat64) * 1000 + 1;
  EXPECT_NEAR(relative_error(student * size, teacher * size).item<double>(), once, 1e-12 * once);
}

TEST(RelativeError, GradientIsTheStudentsAlone) {
  torch::manual_seed(2);
  const Tensor teacher = torch::randn({1, 4, 3}, torch::kFloat64).requires_grad_();
  const Tensor student = torch::randn({1, 4, 3}, torch::kFloat64).requires_grad_();
  relative_error(student, teacher).backward();
  EXPECT_FALSE(teacher.grad().defined());
  const Tensor expected =
      2 * (student - teacher) / teacher.square().sum(-1, /*keepdim=*/true) / 4;  // 4 tokens
  EXPECT_TRUE(torch::allclose(student.grad(), expected.detach(), 1e-12, 1e-14));
  // A target of zero is not divided by.
  const Tensor finite = relative_error(student, torch::zeros({1, 4, 3}, torch::kFloat64));
  EXPECT_TRUE(torch::isfinite(finite).item<bool>());
}

// The first row of a sequence is (1, 0, …) in both models: a root of its squared distance would
// have the derivative 0/0 there, in every batch.
TEST(AttentionLoss, RowsThatAreEqualHaveNoGradient) {
  torch::manual_seed(3);
  const auto weights = [] {
    const Tensor future = torch::ones({5, 5}, torch::kBool).triu(1);
    return torch::softmax(torch::randn({2, 3, 5, 5}, torch::kFloat64).masked_fill(future, -1e300),
                          -1);
  };
  const Tensor student = weights().requires_grad_();
  const Tensor teacher = weights();
  const Tensor loss = attention_loss({student}, {teacher});
  loss.backward();
  const Tensor difference = (student - teacher).detach();
  EXPECT_NEAR(loss.item<double>(), difference.square().sum(-1).mean().item<double>(), 1e-15);
  // 2 · 3 · 5 rows
  EXPECT_TRUE(torch::allclose(student.grad(), 2 * difference / 30, 1e-12, 1e-15));
  EXPECT_TRUE(torch::equal(student.grad().select(2, 0), torch::zeros({2, 3, 5}, torch::kFloat64)));
  const Tensor same = weights().requires_grad_();
  attention_loss({same, same}, {same, same}).backward();
  EXPECT_TRUE(torch::equal(same.grad(), torch::zeros_like(same)));
}

TEST(LogitLoss, KnowsTheTeachersCrossEntropyToo) {
  torch::manual_seed(4);
  const auto random = [](at::IntArrayRef shape) { return torch::randn(shape, torch::kFloat64); };
  const Tensor a = random({2, 7, 5});
  const Tensor b = random({2, 7, 5});
  const Tensor head_a = random({11, 5});
  const Tensor head_b = random({11, 5});
  const Tensor tokens = torch::randint(0, 11, {2, 7}, torch::kInt64);
  for (const double temperature : {1.0, 2.5}) {
    LogitLossOptions options;
    options.temperature = temperature;
    options.chunk = 3;
    const LogitLoss one = logit_loss(a, head_a, b, head_b, tokens, options);
    const LogitLoss other = logit_loss(b, head_b, a, head_a, tokens, options);
    EXPECT_NEAR(one.teacher_ce_per_token, other.ce_per_token, 1e-12);
    EXPECT_NEAR(other.teacher_ce_per_token, one.ce_per_token, 1e-12);
    EXPECT_GT(std::abs(one.ce_per_token - other.ce_per_token), 1e-3);
  }
}

}  // namespace
}  // namespace onebit::distill
