// The fused 1-bit layer against the same formula composed of libtorch's own operations, and the
// straight-through gradient against its definition.
#include "nn/linear.h"

#include <cmath>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/utils.h>
#include <tuple>

#include "base/check.h"

namespace onebit::nn {
namespace {

using torch::Tensor;

double relative(const Tensor& found, const Tensor& expected) {
  const Tensor reference = expected.to(torch::kFloat64);
  const double norm = reference.norm().item<double>();
  return (found.to(torch::kFloat64) - reference).norm().item<double>() / (norm > 0 ? norm : 1);
}

OneBitLinear make_layer(std::int64_t out, std::int64_t in, torch::ScalarType type,
                        OneBitOptions options) {
  const auto of = torch::TensorOptions().dtype(type);
  return {{torch::randn({out, in}, of) * 0.3, torch::rand({in}, of) + 0.1,
           torch::rand({out}, of) + 0.1},
          options};
}

TEST(Sign, ZeroIsPlusOneAndNothingElseIs) {
  const Tensor w = torch::tensor({0.0, -0.0, 1e-300, -1e-300, 2.0, -2.0}, torch::kFloat64);
  const Tensor expected = torch::tensor({1.0, 1.0, 1.0, -1.0, 1.0, -1.0}, torch::kFloat64);
  EXPECT_TRUE(torch::equal(sign_of(w, torch::kFloat64), expected));
  EXPECT_TRUE(torch::equal(sign_of(w, torch::kBFloat16).to(torch::kFloat64), expected));
}

TEST(Sign, GradientIsTheDefinition) {
  const double values[] = {-2.0, -0.01, 0.0, 0.01, 0.5, 3.0};
  for (const double value : values) {
    Tensor w = torch::full({}, value, torch::kFloat64).requires_grad_();
    (sign_ste(w, SignGradient::kTanh) * 7).backward();
    const double tanh = std::tanh(value);
    EXPECT_NEAR(w.grad().item<double>(), 7 * (1.001 - tanh * tanh), 1e-14) << value;
    w.mutable_grad().reset();
    (sign_ste(w, SignGradient::kIdentity) * 7).backward();
    EXPECT_EQ(w.grad().item<double>(), 7) << value;
  }
}

using Case = std::tuple<arch::Form, SignGradient>;
class OneBitLinearForms : public ::testing::TestWithParam<Case> {};

TEST_P(OneBitLinearForms, MatchesTheComposedFormula) {
  torch::manual_seed(1);
  const OneBitOptions options{std::get<0>(GetParam()), std::get<1>(GetParam())};
  struct Size {
    std::int64_t batch, length, in, out;
  };
  // One token, one input, one output, primes, a multiple of the vector width.
  for (const Size& s : {Size{1, 1, 5, 3}, Size{2, 3, 1, 7}, Size{2, 3, 7, 1}, Size{3, 5, 31, 17},
                        Size{2, 8, 64, 128}}) {
    OneBitLinear layer = make_layer(s.out, s.in, torch::kFloat64, options);
    Tensor x = torch::randn({s.batch, s.length, s.in}, torch::kFloat64).requires_grad_();
    const Tensor dy = torch::randn({s.batch, s.length, s.out}, torch::kFloat64);
    std::vector<Parameter> parameters;
    layer.collect("p", parameters);
    std::vector<Tensor> inputs{x};
    for (const Parameter& p : parameters) inputs.push_back(p.value);

    const Tensor expected = layer.forward_reference(x);
    const Tensor found = layer.forward(x);
    ASSERT_EQ(found.sizes(), expected.sizes());
    EXPECT_LE(relative(found, expected), 1e-12);
    const auto expected_grads = torch::autograd::grad({expected}, inputs, {dy});
    const auto found_grads = torch::autograd::grad({found}, inputs, {dy});
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      // LN of a single output is 0 whatever its input: both gradients are rounding, not numbers.
      if (s.out == 1 && options.form == arch::Form::kPaper) continue;
      EXPECT_LE(relative(found_grads[i], expected_grads[i]), 1e-11)
          << "input " << i << ", in " << s.in << ", out " << s.out;
    }
  }
}

// bf16 activations over f32 masters: no worse than a few roundings of 2^-9 relative size.
TEST_P(OneBitLinearForms, Bfloat16IsARoundingAway) {
  torch::manual_seed(2);
  const OneBitOptions options{std::get<0>(GetParam()), std::get<1>(GetParam())};
  OneBitLinear layer = make_layer(96, 64, torch::kFloat32, options);
  Tensor x = torch::randn({2, 9, 64}).to(torch::kBFloat16).requires_grad_();
  const Tensor dy = torch::randn({2, 9, 96}).to(torch::kBFloat16);
  Tensor exact = x.detach().to(torch::kFloat32).requires_grad_();
  const Tensor expected = layer.forward_reference(exact);
  const Tensor found = layer.forward(x);
  EXPECT_EQ(found.scalar_type(), torch::kBFloat16);
  EXPECT_LE(relative(found, expected), 4 * 0x1p-9);
  const auto expected_grads = torch::autograd::grad(
      {expected}, {exact, layer.latent(), layer.g(), layer.h()}, {dy.to(torch::kFloat32)});
  const auto found_grads =
      torch::autograd::grad({found}, {x, layer.latent(), layer.g(), layer.h()}, {dy});
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_LE(relative(found_grads[i], expected_grads[i]), 6 * 0x1p-9) << i;
    EXPECT_EQ(found_grads[i].scalar_type(), i == 0 ? torch::kBFloat16 : torch::kFloat32);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, OneBitLinearForms,
    ::testing::Combine(::testing::Values(arch::Form::kPaper, arch::Form::kFoldable),
                       ::testing::Values(SignGradient::kTanh, SignGradient::kIdentity)));

TEST(OneBitLinear, FollowsAChangeOfItsLatentWeights) {
  OneBitLinear layer = make_layer(4, 6, torch::kFloat32, {});
  const Tensor x = torch::randn({1, 6});
  const Tensor before = layer.forward(x).detach();
  {
    const torch::NoGradGuard no_grad;
    Tensor latent = layer.latent();
    latent[2][3].neg_();
  }
  const Tensor after = layer.forward(x).detach();
  EXPECT_FALSE(torch::equal(before, after));
  EXPECT_LE(relative(after, layer.forward_reference(x).detach()), 1e-6);
}

TEST(OneBitLinear, RejectsShapesThatDoNotFit) {
  EXPECT_THROW(OneBitLinear({torch::zeros({2, 3}), torch::zeros({2}), torch::zeros({2})}, {}),
               InternalError);
  EXPECT_THROW(
      OneBitLinear({torch::zeros({2, 3}), torch::zeros({3}), torch::zeros({2}, torch::kFloat64)},
                   {}),
      InternalError);
}

}  // namespace
}  // namespace onebit::nn
