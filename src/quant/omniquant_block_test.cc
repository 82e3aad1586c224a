// OmniQuant of single blocks against tools/golden/make_omniquant.py, step by step in f64; and that
// what is stored is what was trained.
#include "quant/omniquant_block.h"

#include <algorithm>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "file/safetensors.h"
#include "nn/load.h"
#include "nn/test_golden.h"

namespace onebit::quant {
namespace {

using arch::Role;
using Json = nlohmann::json;
using ::testing::HasSubstr;
using torch::Tensor;

constexpr std::int64_t kBlocks = 2;

std::filesystem::path golden_path() { return testing::golden("rivals/omniquant.safetensors"); }

/// The largest |a - b|, relative to b's root mean square where that is above 1.
double distance(const Tensor& a, const Tensor& b) {
  const double scale = std::max(1.0, b.square().mean().sqrt().item<double>());
  return (a - b).abs().max().item<double>() / scale;
}

arch::ModelConfig golden_config() {
  arch::ModelConfig config;
  config.arch = &arch::arch_by_gguf_name("llama");
  config.vocab = 40;
  config.dim = 36;
  config.layers = kBlocks;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.ffn = 40;
  config.context = 64;
  config.norm_eps = 1e-5;
  return config;
}

/// Block i of the reference's model in full precision.
std::unique_ptr<nn::DecoderModel> golden_block(const testing::GoldenTensors& golden, std::int64_t i,
                                               torch::ScalarType type) {
  const auto start = [&](std::string_view name) {
    return golden.get(fmt::format("start/blk.{}.{}.weight", i, name)).to(type);
  };
  const arch::ModelConfig config = golden_config();
  nn::FrozenWeights frozen;
  frozen.embedding = frozen.head = torch::empty({0, config.dim}, type);
  frozen.attn_norm = {start("attn_norm")};
  frozen.ffn_norm = {start("ffn_norm")};
  return std::make_unique<nn::DecoderModel>(
      config, frozen, type,
      [&](const arch::TensorSpec& spec, std::int64_t) {
        return std::make_unique<nn::DenseLinear>(start(spec.name));
      },
      nn::LayerRange{i, 1});
}

OmniquantOptions options_of(const Json& config, const Json& settings) {
  OmniquantOptions options;
  options.bits = settings.at("weights");
  options.activation_bits = settings.at("activations");
  options.group_size = settings.at("group");
  options.training.let = settings.at("let");
  options.training.epochs = config.at("epochs");
  options.training.lwc_rate = settings.at("lwc_rate");
  options.training.let_rate = settings.at("let_rate");
  options.training.let_alpha = settings.at("alpha");
  options.scales = formats::DType::kF64;
  return options;
}

BlockSamples samples_of(const Tensor& x, const Tensor& target) {
  const auto read = [](const Tensor& t) {
    return [t](std::int64_t first, std::int64_t count) { return t.narrow(0, first, count); };
  };
  return {x.size(0), read(x), read(target)};
}

/// Both blocks of one case, the second behind the quantised first.
void expect_reference(const testing::GoldenTensors& golden, const std::string& name,
                      const OmniquantOptions& options) {
  Tensor x = golden.get("inputs").to(torch::kFloat64);
  Tensor full = x;
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    SCOPED_TRACE(fmt::format("{}, block {}", name, i));
    const std::string at = fmt::format("{}/blk.{}/", name, i);
    const auto model = golden_block(golden, i, torch::kFloat64);
    const InputPeaks peaks = input_peaks(*model, i, [&] {
      const torch::NoGradGuard no_grad;
      full = model->forward_block(i, full);
    });
    for (const auto& [role, peak] : peaks) {
      const auto matrix = arch::find_tensor(*model->config().arch, role)->name;
      EXPECT_LE(distance(peak, golden.get(fmt::format("act_max/blk.{}.{}", i, matrix))), 1e-12);
    }
    OmniquantBlock block(*model, i, options, peaks);
    const std::map<std::string, Tensor> parameters = block.parameters();
    const auto expect_tracked = [&](std::int64_t step) {
      for (const auto& [key, value] : parameters) {
        const std::string track =
            at + (key.ends_with("_scale") ? key : key + ".steps");  // of one matrix only
        if (!golden.has(track)) continue;
        EXPECT_LE(distance(value.detach().flatten(), golden.get(track)[step]), 1e-9)
            << key << " after " << step << " steps";
      }
    };
    expect_tracked(0);
    const Tensor losses = golden.get(name + "/losses")[i];
    std::int64_t steps = 0;
    block.train(samples_of(x, full), [&](std::int64_t step, double loss) {
      EXPECT_EQ(step, steps++);
      EXPECT_NEAR(loss, losses[step].item<double>(), 1e-10) << "step " << step;
      expect_tracked(step + 1);
      if (step > 0 || i > 0) return;
      for (const auto& [key, value] : parameters) {
        const Tensor expected = golden.get(fmt::format("{}gradient/{}", at, key));
        EXPECT_LE(distance(value.grad() / expected.abs().max(), expected / expected.abs().max()),
                  1e-9)
            << "gradient of " << key;
      }
    });
    EXPECT_EQ(steps, losses.size(0));
    for (const auto& [key, value] : parameters) {
      if (key.ends_with("_scale")) continue;
      EXPECT_LE(distance(value.detach(), golden.get(at + key)), 1e-9) << key;
    }
    for (const arch::TensorSpec& spec : model->config().arch->tensors) {
      const std::string key = fmt::format("{}{}.weight", at, spec.name);
      if (!golden.has(key)) continue;
      const Tensor expected = golden.get(key).to(torch::kFloat64);
      if (!spec.linear) {
        EXPECT_LE(distance(block.norm(spec.role), expected), 0x1p-22) << spec.name;
        continue;
      }
      // Another code would be a whole step away.
      const arch::CodeValues values = block.codes(spec.role);
      arch::CodeSpec how;
      how.bits = options.bits;
      std::vector<float> weights(values.codes.size());
      arch::dequantize(how, values, weights);
      EXPECT_LE(
          distance(torch::tensor(at::ArrayRef<float>(weights)).view(expected.sizes()), expected),
          0x1p-21)
          << spec.name;
    }
    const torch::NoGradGuard no_grad;
    x = model->forward_block(i, x);
  }
  EXPECT_LE(distance(x, golden.get(name + "/outputs")), 1e-9);
}

TEST(Omniquant, IsTheReferencesStepByStep) {
  const testing::GoldenTensors golden(golden_path());
  const Json config =
      Json::parse(file::SafetensorsFile::open(golden_path()).metadata().at("provenance"))
          .at("config");
  int compared = 0;
  for (const auto& [name, settings] : config.at("cases").items()) {
    if (settings.at("shift").get<bool>()) continue;  // no file holds biases
    ++compared;
    expect_reference(golden, name, options_of(config, settings));
  }
  EXPECT_EQ(compared, 5);
}

// In the type and with the scales that files have: what was trained last is what is stored.
TEST(Omniquant, StoredNumbersAreTheTrainedOnes) {
  const testing::GoldenTensors golden(golden_path());
  const Tensor x = golden.get("inputs");
  for (const std::int64_t group_size : {0, 16, 36, 64}) {
    for (const bool let : {false, true}) {
      SCOPED_TRACE(fmt::format("groups of {}{}", group_size, let ? ", transformed" : ""));
      const auto model = golden_block(golden, 0, torch::kFloat32);
      Tensor target;
      const InputPeaks peaks = input_peaks(*model, 0, [&] {
        const torch::NoGradGuard no_grad;
        target = model->forward_block(0, x);
      });
      OmniquantOptions options;
      options.bits = 2;
      options.group_size = group_size;
      options.training.let = let;
      options.training.epochs = 1;
      options.training.batch = 3;  // and one of 1
      OmniquantBlock block(*model, 0, options, peaks);
      int steps = 0;
      block.train(samples_of(x, target), [&](std::int64_t, double) { ++steps; });
      EXPECT_EQ(steps, 2);
      for (const arch::TensorSpec& spec : model->config().arch->tensors) {
        if (!spec.linear) continue;
        const arch::CodeValues values = block.codes(spec.role);
        EXPECT_LE(*std::max_element(values.codes.begin(), values.codes.end()), 3);
        arch::CodeSpec how;
        how.bits = 2;
        std::vector<float> stored(values.codes.size());
        arch::dequantize(how, values, stored);
        const torch::NoGradGuard no_grad;
        // The layer's columns are what it makes of unit vectors.
        const Tensor trained =
            model->linear(spec.role, 0).forward(torch::eye(values.ends.back())).t();
        EXPECT_TRUE(trained.equal(torch::tensor(at::ArrayRef<float>(stored)).view(trained.sizes())))
            << spec.name;
        for (const float s : values.scale) {
          EXPECT_EQ(torch::tensor(s).to(torch::kHalf).to(torch::kFloat32).item<float>(), s);
        }
      }
    }
  }
}

TEST(Omniquant, ALossThatIsNotFiniteIsAnError) {
  const testing::GoldenTensors golden(golden_path());
  const auto model = golden_block(golden, 0, torch::kFloat32);
  const Tensor x = golden.get("inputs");
  OmniquantBlock block(*model, 0, {}, {});
  EXPECT_THAT([&] { block.train(samples_of(x, x * std::numeric_limits<float>::infinity())); },
              ::testing::ThrowsMessage<Error>(
                  HasSubstr("step 1 of the block: found a loss of inf, expected a finite number")));
}

// Limits of one sign have zero points outside the codes, and a group of zeros stays zero.
TEST(AffineRounding, LimitsOfAnySign) {
  const Tensor x =
      torch::tensor({{4.0, 5.0, 6.0, 7.0}, {-7.0, -6.0, -5.0, -4.0}, {0.0, 0.0, 0.0, 0.0}});
  const nn::AffineLimits limits = {x.amin(-1, true), x.amax(-1, true)};
  const nn::AffineCodes found = nn::encode_affine(x, limits, {2});
  EXPECT_TRUE(
      found.codes.equal(torch::tensor({{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 0, 0, 0}}, torch::kUInt8)));
  EXPECT_TRUE(found.zero.flatten().equal(torch::tensor({-4.0, 7.0, 0.0})));
  EXPECT_TRUE(nn::fake_affine(x, limits, {2}).equal(x));
  EXPECT_TRUE(nn::fake_tokens(x, 2).equal(x));
  EXPECT_TRUE(nn::fake_tokens(x, 16).is_same(x));
}

// The gradients that the header states, by hand: two bits between -1 and 2, so s = z = 1.
TEST(AffineRounding, GradientsAreThoseOfTheEquation) {
  const Tensor x =
      torch::tensor({-3.0, -1.0, 0.3, 1.4, 2.0, 2.6}, torch::kFloat64).requires_grad_();
  const Tensor low = torch::tensor({-1.0}, torch::kFloat64).requires_grad_();
  const Tensor high = torch::tensor({2.0}, torch::kFloat64).requires_grad_();
  nn::fake_affine(x, {low, high}, {2}).sum().backward();
  EXPECT_TRUE(x.grad().equal(torch::tensor({0.0, 1.0, 1.0, 1.0, 1.0, 0.0}, torch::kFloat64)));
  // Σ c - z - [within] x / s = -1 + 0 - 0.3 - 0.4 + 0 + 2, and ds = (dhigh - dlow) / 3.
  EXPECT_NEAR(high.grad().item<double>(), 0.1, 1e-15);
  EXPECT_NEAR(low.grad().item<double>(), -0.1, 1e-15);
}

}  // namespace
}  // namespace onebit::quant
