// The method `omniquant` on a real tiny model: files hold what was trained, and it pays.
#include <algorithm>
#include <cmath>
#include <gmock/gmock.h>
#include <limits>
#include <optional>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "nn/load.h"
#include "quant/calibration.h"
#include "quant/fake_linear.h"
#include "quant/quantize_model.h"

namespace onebit::quant {
namespace {

using arch::Role;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using torch::Tensor;

constexpr std::int64_t kWindow = 64;

class OmniquantOfStories : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path path = testing::model("stories260k.gguf");
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "absent: " << path;
    source_ = std::make_unique<arch::Checkpoint>(arch::Checkpoint::open(path));
    std::string text;
    for (int i = 0; i < 40; ++i) {
      text += "Once upon a time there was a girl named Lily. She had " + std::to_string(i) +
              " red balls and liked to play with Ben in the park near the house. ";
    }
    tokens_ = source_->tokenizer().encode(text, {});
    tokens_.resize(8 * kWindow);
    options_.embedding = options_.head = formats::DType::kF32;
    options_.method = &find_method("omniquant");
    options_.method_options.bits = 2;
    options_.method_options.group_size = 64;
    options_.method_options.omniquant.epochs = 4;
    options_.calibration = TokenWindows{tokens_, kWindow};
  }

  Tensor tokens() const {
    return torch::tensor(at::ArrayRef<text::TokenId>(tokens_), torch::kInt64).view({-1, kWindow});
  }

  arch::Checkpoint quantised() const {
    NoProgress progress;
    std::filesystem::remove(out());
    quantize_model(*source_, out(), options_, [](const auto&) {}, progress, {});
    return arch::Checkpoint::open(out());
  }

  Tensor hidden(const arch::Checkpoint& model) const {
    const torch::NoGradGuard no_grad;
    return nn::load_dense(model, torch::kFloat32)->forward(tokens(), {}).hidden;
  }

  /// Mean square of what quantising does to the last states.
  double error(const arch::Checkpoint& model) const {
    return (hidden(model) - hidden(*source_)).square().mean().item<double>();
  }

  std::filesystem::path out() const { return dir_ / "out.gguf"; }

  testing::TempDir dir_;
  std::unique_ptr<arch::Checkpoint> source_;
  std::vector<text::TokenId> tokens_;
  QuantizeOptions options_;
};

TEST_F(OmniquantOfStories, IsBetterThanRounding) {
  options_.method_options.bits = 3;
  options_.method_options.omniquant.lwc_rate = 2e-2;  // for few steps
  const double clipped = error(quantised());
  options_.method_options.omniquant.let = true;
  const double transformed = error(quantised());
  options_.method = &find_method("rtn");
  const double rounded = error(quantised());
  EXPECT_LT(clipped, 0.9 * rounded);
  EXPECT_LT(transformed, 0.9 * rounded);
}

// Every matrix and norm of the file is what the trained block had.
TEST_F(OmniquantOfStories, AFileHoldsWhatWasTrained) {
  for (const bool let : {false, true}) {
    SCOPED_TRACE(let ? "transformed" : "clipped");
    options_.method_options.omniquant.let = let;
    options_.method_options.omniquant.epochs = 1;
    const arch::Checkpoint packed = quantised();
    Calibration calibration(*source_, *options_.calibration, dir_ / "", {}, true);
    ThreadPool pool(2);
    const auto quantizer = options_.method->make(*source_, options_.method_options, pool);
    for (std::int64_t layer = 0; layer < source_->config().layers; ++layer) {
      calibration.begin_block(layer);
      quantizer->train_block(calibration, [](std::string_view) {});
      const torch::NoGradGuard no_grad;
      for (const arch::TensorSpec& spec : source_->config().arch->tensors) {
        if (!spec.per_layer) continue;
        const Tensor stored = nn::read_dense(packed, spec.role, layer);
        if (!spec.linear) {
          EXPECT_TRUE(stored.equal(calibration.block().norm(spec.role, layer))) << spec.name;
          EXPECT_EQ(stored.equal(nn::read_dense(*source_, spec.role, layer)), !let) << spec.name;
          continue;
        }
        const Tensor eye = torch::eye(stored.size(1));
        const Tensor trained = calibration.block().linear(spec.role, layer).forward(eye).t();
        EXPECT_TRUE(stored.equal(trained)) << spec.name << " of layer " << layer;
        const Tensor full = nn::read_dense(*source_, spec.role, layer);
        const FakeQuantized fake = quantizer->fake_quantize(
            {spec.role,
             layer,
             full.size(0),
             full.size(1),
             {full.data_ptr<float>(), static_cast<std::size_t>(full.numel())}});
        EXPECT_TRUE(
            torch::tensor(at::ArrayRef<float>(fake.weights)).view(stored.sizes()).equal(stored));
        // Of the weights as transformed: 2 bits leave this much of them, not more than they have.
        EXPECT_GT(fake.report.relative_error, 0.01);
        EXPECT_LT(fake.report.relative_error, 0.5);
        calibration.replace(spec.role, fake);
      }
      calibration.end_block();
    }
  }
}

TEST_F(OmniquantOfStories, MixturesAreRefused) {
  options_.overrides = {{"*.ffn_down", &find_method("rtn"), {}}};
  const auto run = [&] { quantised(); };
  const auto alone = ThrowsMessage<Error>(
      HasSubstr("found method omniquant, which trains whole blocks, in a mixture"));
  EXPECT_THAT(run, alone);
  options_.overrides[0].method = options_.method;
  options_.method = &find_method("rtn");
  EXPECT_THAT(run, alone);
}

// A zero point outside the codes takes 16 bits, in the matrix that has one only; and what is not
// finite is found before anything is trained.
TEST(Omniquant, WeightsOfOneSignAndWeightsThatAreNotFinite) {
  const testing::TempDir dir;
  arch::test_models::TinyModel tiny =
      arch::test_models::random_model(arch::test_models::tiny_config(), 5);
  std::vector<float>& up = tiny.weights.at({Role::kFfnUp, 1});
  for (std::int64_t i = 0; i < 42; ++i)
    up[static_cast<std::size_t>(i)] = 0.5F + 0.01F * static_cast<float>(i);
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  std::vector<text::TokenId> tokens(24, 7);
  tokens[3] = tokens[17] = 11;
  QuantizeOptions options;
  options.embedding = options.head = formats::DType::kF32;
  options.method = &find_method("omniquant");
  options.method_options.bits = 3;
  options.method_options.omniquant.epochs = 1;
  options.calibration = TokenWindows{tokens, 12};
  const auto run = [&] {
    NoProgress progress;
    quantize_model(arch::Checkpoint::open(dir / "m.gguf"), dir / "out.gguf", options,
                   [](const auto&) {}, progress, {});
  };
  run();
  const arch::Checkpoint packed = arch::Checkpoint::open(dir / "out.gguf");
  EXPECT_LT(packed.codes(Role::kFfnUp, 1)->zero[0], 0);
  for (const arch::TensorId& id : arch::tensor_ids(packed.config())) {
    if (!arch::find_tensor(*packed.config().arch, id.role)->linear) continue;
    if (id == arch::TensorId{Role::kFfnUp, 1}) continue;
    const std::optional<arch::CodeMatrix> codes = packed.codes(id.role, id.layer);
    EXPECT_TRUE(std::all_of(codes->zero.begin(), codes->zero.end(),
                            [](float zero) { return zero >= 0 && zero <= 7; }));
  }
  // f16 makes 168 · 2^-24 of the scale, so that the least weight is 256 of them below 0.
  const double clipped = 1 / (1 + std::exp(-4.0));
  for (std::size_t i = 0; i < 42; ++i) {
    up[i] = i == 7 ? static_cast<float>(-255 * 168.45 * 0x1p-24 / clipped) : 0.0F;
  }
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  options.method_options.bits = 8;
  options.method_options.omniquant.lwc_rate = 1e-9;
  std::filesystem::remove(dir / "out.gguf");
  run();
  EXPECT_EQ(arch::Checkpoint::open(dir / "out.gguf").codes(Role::kFfnUp, 1)->zero[0], 256);

  // Of one input, groups keep it but for the clipping; zeros stay zeros.
  std::vector<float>& value = tiny.weights.at({Role::kAttnV, 1});
  std::fill(value.begin(), value.end(), 0.0F);
  std::fill(up.begin(), up.end(), -0.5F);
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  options.method_options.bits = 2;
  options.method_options.group_size = 41;
  std::filesystem::remove(dir / "out.gguf");
  run();
  const arch::Checkpoint constant = arch::Checkpoint::open(dir / "out.gguf");
  std::vector<float> stored(up.size());
  arch::dequantize(*constant.codes(Role::kFfnUp, 1), stored);
  for (const float weight : stored) EXPECT_NEAR(weight, -0.5 * clipped, 1e-3);
  stored.resize(value.size());
  arch::dequantize(*constant.codes(Role::kAttnV, 1), stored);
  EXPECT_THAT(stored, ::testing::Each(0.0F));

  tiny.weights.at({Role::kAttnV, 1})[44] = std::numeric_limits<float>::infinity();
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr(
                       "m.gguf: blk.1.attn_v: weight [1, 2]: found inf, expected a finite")));

  // Steps are between limits: weights beyond them would be cut off in silence.
  for (const float scale : {1e6F, 1e-7F}) {
    std::fill(value.begin(), value.end(), scale);
    arch::test_models::write_gguf(tiny, dir / "m.gguf");
    EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("blk.1.attn_v: weights: found a range of ")));
  }

  // Scales that f16 does not hold are found before any block is trained, too.
  std::fill(value.begin(), value.end(), 1e-4F);
  arch::test_models::write_gguf(tiny, dir / "m.gguf");
  const arch::Checkpoint source = arch::Checkpoint::open(dir / "m.gguf");
  ThreadPool pool(1);
  const auto make = [&] { options.method->make(source, options.method_options, pool); };
  EXPECT_THAT(make, ThrowsMessage<Error>(HasSubstr("blk.1.attn_v: scales: found ")));
  options.method_options.scales = formats::DType::kF32;
  EXPECT_NO_THROW(make());
}

}  // namespace
}  // namespace onebit::quant
