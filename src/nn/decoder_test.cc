// The decoder against transformers' logits (tools/golden/make_logits.py), and packed files through
// a full circle.
#include "nn/decoder.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "arch/folding.h"
#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "nn/load.h"

namespace onebit::nn {
namespace {

using torch::Tensor;

std::filesystem::path stories() { return testing::model("stories260k.gguf"); }

Tensor token_row(const std::vector<std::int64_t>& ids) {
  return torch::tensor(at::ArrayRef<std::int64_t>(ids), torch::kInt64).unsqueeze(0);
}

Tensor logits_of(DecoderModel& model, const Tensor& tokens) {
  const torch::NoGradGuard no_grad;
  return torch::linear(model.forward(tokens, {}).hidden, model.head());
}

void expect_golden_logits(const std::filesystem::path& model_path, const char* name,
                          torch::ScalarType compute) {
  ONEBIT_REQUIRE_FILE(model_path);
  const nlohmann::json golden = nlohmann::json::parse(read_file(testing::golden("logits") / name));
  const std::unique_ptr<DecoderModel> model =
      load_dense(arch::Checkpoint::open(model_path), compute);
  const Tensor logits =
      logits_of(*model, token_row(golden.at("tokens").get<std::vector<std::int64_t>>()))[0];
  const auto positions = golden.at("positions").get<std::vector<std::int64_t>>();
  // Twice what f32 arithmetic alone moves transformers' own logits.
  const double tolerance = std::max(1e-4, 2 * golden.at("f64_gap").get<double>());
  double worst = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto ids = golden.at("ids")[i].get<std::vector<std::int64_t>>();
    const auto expected = golden.at("logits")[i].get<std::vector<double>>();
    for (std::size_t j = 0; j < ids.size(); ++j) {
      worst = std::max(worst, std::abs(logits[positions[i]][ids[j]].item<double>() - expected[j]));
    }
  }
  EXPECT_LE(worst, tolerance);
  const auto best = golden.at("argmax").get<std::vector<std::int64_t>>();
  const Tensor found = logits.argmax(-1);
  std::int64_t different = 0;
  for (std::size_t i = 0; i < best.size(); ++i) {
    different += found[static_cast<std::int64_t>(i)].item<std::int64_t>() != best[i] ? 1 : 0;
  }
  EXPECT_EQ(different, 0);
}

TEST(Decoder, StoriesLogitsMatchTransformers) {
  expect_golden_logits(stories(), "stories260k.json", torch::kFloat32);
}

TEST(Decoder, StoriesLogitsMatchTransformersInFloat64) {
  expect_golden_logits(stories(), "stories260k.json", torch::kFloat64);
}

TEST(Decoder, SmolLm2LogitsMatchTransformers) {
  expect_golden_logits(testing::model("smollm2-135m-instruct.gguf"), "smollm2.json",
                       torch::kFloat32);
}

TEST(Decoder, KeptAttentionGivesTheSameOutput) {
  ONEBIT_REQUIRE_FILE(stories());
  const auto model = load_dense(arch::Checkpoint::open(stories()), torch::kFloat64);
  const Tensor tokens = token_row({1, 50, 400, 3, 77, 401, 12}).repeat({2, 1});
  const torch::NoGradGuard no_grad;
  const DecoderOutput plain = model->forward(tokens, {});
  const DecoderOutput kept = model->forward(tokens, {.keep_states = true, .keep_attention = true});
  EXPECT_TRUE(torch::allclose(plain.hidden, kept.hidden, 1e-12, 1e-13));
  const arch::ModelConfig& config = model->config();
  ASSERT_EQ(kept.states.size(), static_cast<std::size_t>(config.layers) + 1);
  ASSERT_EQ(kept.attention.size(), static_cast<std::size_t>(config.layers));
  EXPECT_EQ(kept.attention[0].sizes(), (std::vector<std::int64_t>{2, config.heads, 7, 7}));
  EXPECT_TRUE(torch::allclose(kept.attention[0].sum(-1), torch::ones({}, torch::kFloat64)));
  EXPECT_TRUE(plain.states.empty());
}

// A later token must not reach back: the first positions are the same without it.
TEST(Decoder, IsCausal) {
  ONEBIT_REQUIRE_FILE(stories());
  const auto model = load_dense(arch::Checkpoint::open(stories()), torch::kFloat64);
  const Tensor tokens = token_row({1, 50, 400, 3, 77, 401, 12});
  const Tensor whole = logits_of(*model, tokens).narrow(1, 0, 4);
  EXPECT_TRUE(torch::allclose(whole, logits_of(*model, tokens.narrow(1, 0, 4)), 1e-12, 1e-12));
}

// Doubling is exact: in the weights of q, k and v, in what a hook sees, and in the norm before
// them.
TEST(Decoder, HooksAndNormsActWhereTheyStand) {
  const testing::TempDir dir;
  arch::test_models::write_gguf(
      arch::test_models::random_model(arch::test_models::tiny_config(), 5), dir / "m.gguf");
  const arch::Checkpoint checkpoint = arch::Checkpoint::open(dir / "m.gguf");
  const auto load = [&] { return load_block(checkpoint, torch::kFloat64, 1); };
  torch::manual_seed(3);
  const Tensor x = torch::randn({2, 5, checkpoint.config().dim}, torch::kFloat64);
  const auto doubled = [&](std::initializer_list<arch::Role> roles) {
    const auto model = load();
    for (const arch::Role role : roles) {
      const Tensor w = read_dense(checkpoint, role, 1, torch::kFloat64) * 2;
      model->exchange(role, 1, std::make_unique<DenseLinear>(w));
    }
    return model->forward_block(1, x);
  };
  const auto twice = [](const Tensor& t) { return t * 2; };
  const Tensor keys_and_values = doubled({arch::Role::kAttnK, arch::Role::kAttnV});
  const Tensor all = doubled({arch::Role::kAttnQ, arch::Role::kAttnK, arch::Role::kAttnV});
  auto model = load();
  model->set_attention_hooks({.cached = twice, .operand = {}});
  EXPECT_TRUE(model->forward_block(1, x).equal(keys_and_values));
  int heads = 0;
  model->set_attention_hooks({.cached = {}, .operand = [&](const Tensor& t) {
                                heads += static_cast<int>(t.size(1));
                                EXPECT_EQ(t.size(2), 5);
                                EXPECT_EQ(t.size(3), checkpoint.config().head_dim);
                                return twice(t);
                              }});
  EXPECT_TRUE(model->forward_block(1, x).equal(all));
  EXPECT_EQ(heads, checkpoint.config().heads + 2 * checkpoint.config().kv_heads);
  model = load();
  const Tensor scale = torch::full({1}, 2.0, torch::kFloat64).requires_grad_();
  model->set_norm(arch::Role::kAttnNorm, 1, model->norm(arch::Role::kAttnNorm, 1) * scale);
  const Tensor y = model->forward_block(1, x);
  EXPECT_TRUE(y.equal(all));
  y.square().sum().backward();
  EXPECT_NE(scale.grad().item<double>(), 0);
}

TEST(Decoder, BlocksInTurnAreTheForwardPass) {
  ONEBIT_REQUIRE_FILE(stories());
  const auto model = load_dense(arch::Checkpoint::open(stories()), torch::kFloat32);
  const Tensor tokens = token_row({1, 50, 400, 3, 77, 401, 12});
  const DecoderOutput whole = model->forward(tokens, {.keep_states = true});
  Tensor x = model->embed(tokens);
  for (std::int64_t layer = 0; layer < model->config().layers; ++layer) {
    EXPECT_TRUE(torch::equal(x, whole.states[static_cast<std::size_t>(layer)])) << layer;
    x = model->forward_block(layer, x);
  }
  EXPECT_TRUE(torch::equal(x, whole.states.back()));
}

/// A random student of the given form: g shared and tied as folding wants it, some values zero,
/// some negative.
std::unique_ptr<DecoderModel> random_student(const arch::Checkpoint& source,
                                             const FrozenWeights& frozen, torch::ScalarType compute,
                                             const arch::test_models::FormCase& form) {
  const torch::TensorOptions type(master_type(compute));
  std::vector<arch::Folding> foldings;
  if (form.form == arch::Form::kFoldable) foldings = arch::foldings(source.config());
  std::map<std::pair<const arch::Folding*, std::int64_t>, Tensor> shared;
  const auto random = [&](std::vector<std::int64_t> shape) {
    const Tensor values = torch::rand(shape, type) + 0.5;
    return torch::where(torch::rand(shape, type) < 0.1, -values, values);
  };
  return make_student(
      source, frozen, compute, {form.form, SignGradient::kTanh, form.group_size},
      [&](const arch::TensorSpec& spec, std::int64_t layer, const Tensor& w) {
        OneBitStart start;
        start.latent = torch::randn(w.sizes(), type);
        start.h = random({w.size(0)});
        if (form.group_size > 0) {
          start.h = random({w.size(0), arch::group_count(w.size(1), form.group_size)});
        }
        if (form.form != arch::Form::kFoldable) {
          start.g = random({w.size(1)});
          return start;
        }
        const arch::Folding& folding = arch::folding_of(foldings, spec.role);
        Tensor& g = shared[{&folding, layer}];
        if (!g.defined()) {
          g = random({folding.size});
          g[0] = 0;
          g.requires_grad_();
        }
        start.g = g;
        if (!folding.tie.empty()) start.tie = torch::tensor(folding.tie, torch::kInt64);
        return start;
      });
}

TEST(Decoder, PackedFileGivesBackTheStudent) {
  ONEBIT_REQUIRE_FILE(stories());
  const arch::Checkpoint source = arch::Checkpoint::open(stories());
  torch::manual_seed(5);
  const FrozenWeights frozen = read_frozen(source, torch::kFloat64);
  for (const arch::test_models::FormCase& form : arch::test_models::kForms) {
    SCOPED_TRACE(form.name);
    const auto student = random_student(source, frozen, torch::kFloat64, form);
    const testing::TempDir folder;
    arch::PackOptions options;
    options.provenance = arch::provenance_of(source, "onebit", form.form, form.group_size);
    options.embedding = formats::DType::kF32;
    options.scales = formats::DType::kF32;
    save_packed(*student, source, folder / "model.gguf", options);

    const arch::Checkpoint packed = arch::Checkpoint::open(folder / "model.gguf");
    const auto back = load_packed(packed, torch::kFloat64, SignGradient::kTanh, kLatentScale);
    const Tensor tokens = token_row({1, 50, 400, 3, 77});
    const Tensor expected = logits_of(*student, tokens);
    // Files hold f32: scales are off by 2^-24 each, which five blocks of random signs magnify.
    EXPECT_LE((logits_of(*back, tokens) - expected).abs().max().item<double>(),
              1e-4 * expected.abs().max().item<double>());
    for (const Parameter& p : back->parameters()) {
      EXPECT_TRUE(!p.name.ends_with(".h") || p.value.ge(0).all().item<bool>()) << p.name;
      EXPECT_FALSE(form.form == arch::Form::kFoldable && p.name.ends_with(".g")) << p.name;
    }
  }
}

TEST(Decoder, DenseModelIsNotAPackedOne) {
  ONEBIT_REQUIRE_FILE(stories());
  const arch::Checkpoint source = arch::Checkpoint::open(stories());
  EXPECT_THROW(load_packed(source, torch::kFloat32, SignGradient::kTanh, kLatentScale), Error);
}

TEST(LatentStart, IsTheSignOrTheWeightInUnitsOfItsLevel) {
  const Tensor w = torch::tensor({{1.0F, -2.0F}, {0.0F, 6.0F}, {-3.0F, 0.0F}});
  const Tensor g = torch::tensor({1.0F, 2.0F});
  const Tensor h = torch::tensor({1.0F, 3.0F, 0.0F});
  const Tensor level = levels(g, h, {}, 2, 0);
  EXPECT_TRUE(torch::equal(latent_start(w, level, LatentStart::kSign, 0.5),
                           torch::tensor({{0.5F, -0.5F}, {0.5F, 0.5F}, {-0.5F, 0.5F}})));
  // The last row's level is zero: its weights keep their signs.
  EXPECT_TRUE(torch::equal(latent_start(w, level, LatentStart::kLevels, 0.5),
                           torch::tensor({{0.5F, -0.5F}, {0.0F, 0.5F}, {-0.5F, 0.5F}})));
}

}  // namespace
}  // namespace onebit::nn
