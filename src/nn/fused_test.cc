// Hand-written gradients against libtorch's automatic ones.
#include "nn/fused.h"

#include <functional>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/utils.h>

namespace onebit::nn {
namespace {

using torch::Tensor;

/// Values and gradients of two forms of one function, both f64, for random inputs of `shapes`.
void expect_same(const std::function<Tensor(const std::vector<Tensor>&)>& fused,
                 const std::function<Tensor(const std::vector<Tensor>&)>& plain,
                 const std::vector<std::vector<std::int64_t>>& shapes) {
  torch::manual_seed(3);
  std::vector<Tensor> inputs;
  for (const auto& shape : shapes) {
    inputs.push_back(torch::randn(shape, torch::kFloat64).requires_grad_());
  }
  const Tensor expected = plain(inputs);
  const Tensor found = fused(inputs);
  ASSERT_EQ(found.sizes(), expected.sizes());
  EXPECT_TRUE(torch::allclose(found, expected, 1e-12, 1e-13));
  const Tensor dy = torch::randn_like(expected);
  const auto expected_grads = torch::autograd::grad({expected}, inputs, {dy});
  const auto found_grads = torch::autograd::grad({found}, inputs, {dy});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(torch::allclose(found_grads[i], expected_grads[i], 1e-11, 1e-13)) << "input " << i;
  }
}

TEST(Fused, RmsNorm) {
  const Tensor weight = torch::rand({13}, torch::kFloat64) + 0.5;
  expect_same([&](const auto& in) { return rms_norm(in[0], weight, 1e-5, torch::kFloat64); },
              [&](const auto& in) {
                return in[0] * (in[0].square().mean(-1, true) + 1e-5).rsqrt() * weight;
              },
              {{2, 3, 13}});
}

TEST(Fused, RmsNormWithATrainedWeight) {
  expect_same([&](const auto& in) { return rms_norm(in[0], in[1], 1e-5, torch::kFloat64); },
              [&](const auto& in) {
                return in[0] * (in[0].square().mean(-1, true) + 1e-5).rsqrt() * in[1];
              },
              {{2, 3, 13}, {13}});
}

TEST(Fused, Rotary) {
  const Tensor angle = torch::rand({5, 4, 3}, torch::kFloat64) * 6;
  expect_same(
      [&](const auto& in) { return rotary(in[0], torch::polar(angle.new_ones({}), angle)); },
      [&](const auto& in) {
        const Tensor even = in[0].unflatten(-1, {3, 2}).select(-1, 0);
        const Tensor odd = in[0].unflatten(-1, {3, 2}).select(-1, 1);
        return torch::stack(
                   {even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()},
                   -1)
            .flatten(-2);
      },
      {{2, 5, 4, 6}});
}

TEST(Fused, SwiGlu) {
  expect_same([](const auto& in) { return swiglu(in[0], in[1]); },
              [](const auto& in) { return in[0] * torch::sigmoid(in[0]) * in[1]; },
              {{2, 3, 11}, {2, 3, 11}});
}

TEST(Fused, NormalizedDistance) {
  const Tensor b = torch::randn({2, 3, 11}, torch::kFloat64);
  expect_same([&](const auto& in) { return normalized_distance(in[0], b, 1e-12); },
              [&](const auto& in) {
                // torch.nn.functional.normalize
                const auto unit = [](const Tensor& t) {
                  const Tensor rows = t.flatten(0, 1);
                  return rows / rows.norm(2, 1, true).clamp_min(1e-12);
                };
                return (unit(in[0]) - unit(b)).norm(2, 1).square().mean();
              },
              {{2, 3, 11}});
}

// A whole block's worth of features in bf16 must keep the statistics in f32.
TEST(Fused, NormStatisticsAreNotRounded) {
  torch::manual_seed(4);
  const Tensor z = (torch::randn({3, 257}) + 100).to(torch::kBFloat16);
  const Tensor h = torch::rand({257}) + 0.5;
  const NormedRows found = scale_norm(z, h, 1e-5);
  const Tensor exact = torch::layer_norm(z.to(torch::kFloat64) * h.to(torch::kFloat64), {257});
  EXPECT_EQ(found.rows.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(found.mean.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(torch::allclose(found.rows.to(torch::kFloat64), exact, 0x1p-8, 1e-4));
}

}  // namespace
}  // namespace onebit::nn
