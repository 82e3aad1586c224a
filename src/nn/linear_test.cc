// The fused 1-bit layer against the same formula composed of libtorch's own operations, and the
// straight-through gradient against its definition.
#include "nn/linear.h"

#include <cmath>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/utils.h>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace onebit::nn {
namespace {

using torch::Tensor;

double relative(const Tensor& found, const Tensor& expected) {
  const Tensor reference = expected.to(torch::kFloat64);
  const double norm = reference.norm().item<double>();
  return (found.to(torch::kFloat64) - reference).norm().item<double>() / (norm > 0 ? norm : 1);
}

/// A form of the layer, with or without inputs that share their scale, or without scales of inputs.
struct Shape {
  const char* name;
  arch::Form form;
  std::int64_t group_size = 0;
  bool tied = false;
  bool no_g = false;
};
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

OneBitLinear make_layer(std::int64_t out, std::int64_t in, torch::ScalarType type,
                        const Shape& shape, SignGradient gradient = SignGradient::kTanh) {
  const auto of = torch::TensorOptions().dtype(type);
  OneBitStart start;
  start.latent = torch::randn({out, in}, of) * 0.3;
  start.h = torch::rand({out}, of) + 0.1;
  if (shape.group_size > 0) {
    start.h = torch::randn({out, arch::group_count(in, shape.group_size)}, of);
  }
  if (shape.tied) start.tie = torch::arange(in).div(2, "floor");
  if (!shape.no_g) start.g = torch::rand({shape.tied ? (in + 1) / 2 : in}, of) + 0.1;
  return {std::move(start), {shape.form, gradient, shape.group_size}};
}

/// x and the layer's parameters.
std::vector<Tensor> inputs_of(const OneBitLinear& layer, const Tensor& x) {
  std::vector<Parameter> parameters;
  layer.collect("p", parameters);
  std::vector<Tensor> inputs{x};
  for (const Parameter& p : parameters) inputs.push_back(p.value);
  return inputs;
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

using Case = std::tuple<Shape, SignGradient>;
class OneBitLinearForms : public ::testing::TestWithParam<Case> {};

TEST_P(OneBitLinearForms, MatchesTheComposedFormula) {
  torch::manual_seed(1);
  const auto& [shape, gradient] = GetParam();
  struct Size {
    std::int64_t batch, length, in, out;
  };
  // One token, one input, one output, primes, a multiple of the vector width.
  for (const Size& s : {Size{1, 1, 5, 3}, Size{2, 3, 1, 7}, Size{2, 3, 7, 1}, Size{3, 5, 31, 17},
                        Size{2, 8, 64, 128}, Size{1, 3, 150, 4}}) {
    OneBitLinear layer = make_layer(s.out, s.in, torch::kFloat64, shape, gradient);
    Tensor x = torch::randn({s.batch, s.length, s.in}, torch::kFloat64).requires_grad_();
    const Tensor dy = torch::randn({s.batch, s.length, s.out}, torch::kFloat64);
    const std::vector<Tensor> inputs = inputs_of(layer, x);
    const Tensor expected = layer.forward_reference(x);
    const Tensor found = layer.forward(x);
    ASSERT_EQ(found.sizes(), expected.sizes());
    EXPECT_LE(relative(found, expected), 1e-12);
    const auto expected_grads = torch::autograd::grad({expected}, inputs, {dy});
    const auto found_grads = torch::autograd::grad({found}, inputs, {dy});
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      // LN of a single output is 0 whatever its input: both gradients are rounding, not numbers.
      if (s.out == 1 && shape.form == arch::Form::kPaper) continue;
      EXPECT_LE(relative(found_grads[i], expected_grads[i]), 1e-11)
          << "input " << i << ", in " << s.in << ", out " << s.out;
    }
  }
}

// bf16 activations over f32 masters: no worse than a few roundings of 2^-9 relative size.
TEST_P(OneBitLinearForms, Bfloat16IsARoundingAway) {
  torch::manual_seed(2);
  const auto& [shape, gradient] = GetParam();
  OneBitLinear layer = make_layer(96, 64, torch::kFloat32, shape, gradient);
  Tensor x = torch::randn({2, 9, 64}).to(torch::kBFloat16).requires_grad_();
  const Tensor dy = torch::randn({2, 9, 96}).to(torch::kBFloat16);
  Tensor exact = x.detach().to(torch::kFloat32).requires_grad_();
  const Tensor expected = layer.forward_reference(exact);
  const Tensor found = layer.forward(x);
  EXPECT_EQ(found.scalar_type(), torch::kBFloat16);
  EXPECT_LE(relative(found, expected), 4 * 0x1p-9);
  const auto expected_grads =
      torch::autograd::grad({expected}, inputs_of(layer, exact), {dy.to(torch::kFloat32)});
  const auto found_grads = torch::autograd::grad({found}, inputs_of(layer, x), {dy});
  for (std::size_t i = 0; i < found_grads.size(); ++i) {
    EXPECT_LE(relative(found_grads[i], expected_grads[i]), 6 * 0x1p-9) << i;
    EXPECT_EQ(found_grads[i].scalar_type(), i == 0 ? torch::kBFloat16 : torch::kFloat32);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, OneBitLinearForms,
    ::testing::Combine(
        ::testing::Values(Shape{"paper", arch::Form::kPaper}, Shape{"free", arch::Form::kFree},
                          Shape{"tied", arch::Form::kFoldable, 0, true},
                          Shape{"folded", arch::Form::kFoldable, 0, false, true},
                          Shape{"groups", arch::Form::kFoldable, 32, true},
                          Shape{"folded groups", arch::Form::kFoldable, 64, false, true}),
        ::testing::Values(SignGradient::kTanh, SignGradient::kIdentity)));

TEST(OneBitLinear, FollowsAChangeOfItsLatentWeights) {
  for (const Shape& shape :
       {Shape{"paper", arch::Form::kPaper}, Shape{"groups", arch::Form::kFoldable, 32}}) {
    OneBitLinear layer = make_layer(4, 6, torch::kFloat32, shape);
    const Tensor x = torch::randn({1, 6});
    Tensor before = layer.forward(x).detach();
    for (const Tensor& changed : {layer.latent(), layer.h()}) {
      {
        const torch::NoGradGuard no_grad;
        changed[2].neg_();
      }
      const Tensor after = layer.forward(x).detach();
      EXPECT_FALSE(torch::equal(before, after));
      EXPECT_LE(relative(after, layer.forward_reference(x).detach()), 1e-6);
      before = after;
    }
  }
}

TEST(OneBitLinear, SharesTheScaleThatItIsGiven) {
  const Tensor g = (torch::rand({6}) + 0.1).requires_grad_();
  const auto layer = [&](std::int64_t out) {
    return OneBitLinear({torch::randn({out, 6}), g, torch::rand({out}) + 0.1},
                        {arch::Form::kFoldable});
  };
  OneBitLinear first = layer(3);
  OneBitLinear second = layer(4);
  std::vector<Parameter> parameters;
  first.collect("a", parameters);
  second.collect("b", parameters);
  std::vector<std::string> names;
  for (const Parameter& p : parameters) names.push_back(p.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a.latent", "a.g", "a.h", "b.latent", "b.h"}));
  const Tensor x = torch::randn({2, 6});
  (first.forward(x).sum() + second.forward(x).sum()).backward();
  const Tensor both = g.grad().clone();
  g.mutable_grad().reset();
  (first.forward_reference(x).sum() + second.forward_reference(x).sum()).backward();
  EXPECT_LE(relative(both, g.grad()), 1e-5);
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
