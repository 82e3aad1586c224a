// BitNet's layers against tools/golden/make_bitnet.py, and what files make of rounded weights.
#include "nn/rounded_linear.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <torch/autograd.h>
#include <torch/utils.h>

#include "arch/test_models.h"
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

// A matrix of zeros among them, whose scale f16 must hold too.
TEST(RoundedLinear, FilesHoldWhatIsMultiplied) {
  const testing::TempDir dir;
  const auto tiny = arch::test_models::random_model(arch::test_models::tiny_config(), 5);
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  const auto source = arch::Checkpoint::open(dir / "m.gguf");
  const RoundedOptions options = bitnet(WeightRounding::kTernary);
  std::map<arch::TensorId, RoundedLinear> layers;
  arch::PackOptions pack;
  pack.provenance = arch::provenance_of(source, "bitnet158", arch::Form::kFree, 0);
  pack.embedding = pack.head = formats::DType::kF32;
  for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
    const arch::TensorSpec& spec = *arch::find_tensor(*source.config().arch, id.role);
    if (!spec.linear) continue;
    const formats::Shape shape = arch::shape_of(source.config(), spec);
    Tensor w = torch::tensor(at::ArrayRef<float>(tiny.weights.at(id))).view({shape[0], shape[1]});
    if (id.role == arch::Role::kAttnOut) w.zero_();
    layers.emplace(id, RoundedLinear(w, options));
    pack.set(id, storage_of(options));
  }
  arch::PackedWriter writer(dir / "out.gguf", source, std::move(pack));
  for (const arch::TensorId& id : writer.order()) {
    if (const auto found = layers.find(id); found != layers.end()) {
      found->second.add_to(writer, id.role, id.layer);
    } else {
      writer.add_dense(id.role, id.layer, tiny.weights.at(id));
    }
  }
  writer.finish();
  const auto packed = arch::Checkpoint::open(dir / "out.gguf");
  for (auto& [id, layer] : layers) {
    const Tensor expected = round_weights(layer.weight(), options);
    std::vector<float> stored(static_cast<std::size_t>(expected.numel()));
    arch::dequantize(*packed.codes(id.role, id.layer), stored);
    const Tensor found = torch::tensor(at::ArrayRef<float>(stored)).view(expected.sizes());
    EXPECT_TRUE(torch::allclose(found, expected, /*rtol=*/0x1p-11, /*atol=*/0));  // f16's rounding
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
