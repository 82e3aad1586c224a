// BitNet's layers against tools/golden/make_bitnet.py, and what files make of rounded weights.
#include "nn/rounded_linear.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/utils.h>

#include "base/test_paths.h"
#include "nn/test_golden.h"

namespace onebit::nn {
namespace {

using torch::Tensor;

constexpr double kNormEps = 1e-5;

RoundedOptions bitnet(WeightRounding weights) {
  RoundedOptions options;
  options.weights = weights;
  options.inputs.norm =
      weights == WeightRounding::kSign ? arch::InputNorm::kLayer : arch::InputNorm::kRms;
  options.inputs.bits = 8;
  options.norm_eps = kNormEps;
  return options;
}

double largest(const Tensor& found, const Tensor& expected) {
  return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

TEST(RoundedLinear, BitNetsLayersAreTheReferences) {
  const testing::GoldenTensors golden(testing::golden("rivals/bitnet.safetensors"));
  for (int k = 0; k < 4; ++k) {
    for (const auto& [name, weights] : {std::pair{"bitnet", WeightRounding::kSign},
                                        std::pair{"bitnet158", WeightRounding::kTernary}}) {
      SCOPED_TRACE(fmt::format("{} {}", name, k));
      const auto get = [&](const std::string& tensor) {
        return golden.get(fmt::format("layer/{}/{}", k, tensor)).to(torch::kFloat64);
      };
      RoundedLinear layer(get("weight"), bitnet(weights));
      const Tensor x = get("x").requires_grad_();
      const Tensor y = layer.forward(x);
      const auto grads = torch::autograd::grad({y}, {x, layer.weight()}, {get("upstream")});
      EXPECT_LT(largest(y, get(fmt::format("{}/y", name))), 1e-12);
      EXPECT_LT(largest(grads[0], get(fmt::format("{}/grad_x", name))), 1e-10);
      EXPECT_LT(largest(grads[1], get(fmt::format("{}/grad_weight", name))), 1e-12);
    }
  }
}

TEST(RoundedLinear, MatrixFollowsTheWeights) {
  RoundedOptions options;
  options.bits = 3;
  RoundedLinear layer(torch::tensor({{3.0F, -1.6F, 0.4F}, {0.0F, 0.0F, 0.0F}}), options);
  const Tensor x = torch::eye(3);
  EXPECT_TRUE(torch::equal(layer.forward(x).t().detach(),
                           torch::tensor({{3.0F, -2.0F, 0.0F}, {0.0F, 0.0F, 0.0F}})));
  {
    const torch::NoGradGuard no_grad;
    layer.weight().mul_(2);
  }
  EXPECT_TRUE(torch::equal(layer.forward(x).t().detach(),
                           torch::tensor({{6.0F, -4.0F, 0.0F}, {0.0F, 0.0F, 0.0F}})));
}

}  // namespace
}  // namespace onebit::nn
