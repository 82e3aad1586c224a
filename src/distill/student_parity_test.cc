// The student that is trained is the student that runs: libtorch's forward pass of a packed file
// against the runtime's. tools/accept/packed.py does the same on SmolLM2.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "distill/student.h"
#include "distill/student_method.h"
#include "nn/activations.h"
#include "nn/load.h"
#include "quant/quantize_model.h"
#include "runtime/model.h"

namespace onebit::distill {
namespace {

using runtime::Activations;
using text::TokenId;
using torch::Tensor;
using Ids = std::vector<TokenId>;

/// Logits [T, V] of the runtime.
Tensor runtime_logits(const std::filesystem::path& path, const Ids& tokens,
                      Activations activations) {
  runtime::Model model = runtime::Model::load(path, {.threads = 2,
                                                     .activations = activations,
                                                     .kv = runtime::KvType::kF32,
                                                     .isa = {},
                                                     .prompt_chunk = 100});
  runtime::KvCache cache = model.make_cache(std::ssize(tokens));
  const std::int64_t vocab = model.config().vocab;
  Tensor logits = torch::empty({std::ssize(tokens), vocab});
  model.forward_each(tokens, cache, 0, [&](std::int64_t first, std::span<const float> rows) {
    std::copy(rows.begin(), rows.end(), logits.mutable_data_ptr<float>() + first * vocab);
  });
  return logits;
}

double perplexity(const Tensor& logits, const Tensor& tokens) {
  const std::int64_t last = tokens.size(0) - 1;
  const Tensor log_p = logits.narrow(0, 0, last).to(torch::kFloat64).log_softmax(-1);
  return std::exp(torch::nll_loss(log_p, tokens.narrow(0, 1, last)).item<double>());
}

/// Quantises by SVID in both forms and compares the engines. `rounding`: how far int8 activations
/// may move the perplexity, relative: a student that SVID alone has made spreads what rounding
/// moves.
void expect_parity(const std::filesystem::path& source, const Ids& ids, formats::DType head,
                   double rounding) {
  const Tensor tokens = torch::tensor(ids, torch::kInt64);
  const torch::NoGradGuard no_grad;
  const testing::TempDir dir;
  for (const arch::test_models::FormCase& form : arch::test_models::kForms) {
    SCOPED_TRACE(form.name);
    quant::QuantizeOptions options;
    options.method = &quant::find_method("onebit");
    options.method_options.form = form.form;
    options.method_options.group_size = form.group_size;
    options.embedding = options.head = head;
    NoProgress progress;
    std::filesystem::remove(dir / "m.gguf");
    quant::quantize_model(arch::Checkpoint::open(source), dir / "m.gguf", options,
                          [](const quant::MatrixReport&) {}, progress, {});
    const auto student = nn::load_packed(arch::Checkpoint::open(dir / "m.gguf"), torch::kFloat32,
                                         nn::SignGradient::kTanh, nn::kLatentScale);
    const Tensor expected =
        torch::linear(student->forward(tokens.unsqueeze(0), {}).hidden, student->head())[0];
    const Tensor exact = runtime_logits(dir / "m.gguf", ids, Activations::kF32);
    // Rounding of f32 sums, through a few layers.
    EXPECT_LE((exact - expected).abs().max().item<double>(),
              1e-4 * expected.abs().max().item<double>());
    const Tensor rounded = runtime_logits(dir / "m.gguf", ids, Activations::kI8);
    EXPECT_FALSE(torch::equal(rounded, exact));
    EXPECT_NEAR(perplexity(rounded, tokens) / perplexity(exact, tokens), 1, rounding);
  }
}

TEST(StudentParity, Stories) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  const Ids tokens = nlohmann::json::parse(read_file(testing::golden("logits/stories260k.json")))
                         .at("tokens")
                         .get<Ids>();
  expect_parity(testing::model("stories260k.gguf"), tokens, formats::DType::kQ8_0, 0.05);
}

// No size of it a multiple of 64, and a head of its own.
TEST(StudentParity, TinyRandomModel) {
  const testing::TempDir dir;
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.context = 256;
  arch::test_models::write_gguf(arch::test_models::random_model(config, 21), dir / "tiny.gguf");
  Rng rng(22);
  Ids tokens(200);
  for (TokenId& t : tokens) {
    t = static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(config.vocab)));
  }
  expect_parity(dir / "tiny.gguf", tokens, formats::DType::kF16, 0.05);
}

/// A student of another method as it starts, and the bits that it has.
struct MethodCase {
  const char* name;
  StudentMethod method;
  int bits;
  int act_bits;
  int kv_bits;
};
void PrintTo(const MethodCase& method, std::ostream* out) { *out << method.name; }

class MethodParity : public ::testing::TestWithParam<MethodCase> {};

// Engines add in other orders: where an activation lies between two of its few levels they may take
// one each, and what follows differs: by this much of the perplexity of a few hundred tokens.
constexpr double kFlips = 5e-3;

TEST_P(MethodParity, PerplexityIsTheSame) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  const Ids ids = nlohmann::json::parse(read_file(testing::golden("logits/stories260k.json")))
                      .at("tokens")
                      .get<Ids>();
  const Tensor tokens = torch::tensor(ids, torch::kInt64);
  const torch::NoGradGuard no_grad;
  const testing::TempDir dir;
  const arch::Checkpoint source = arch::Checkpoint::open(testing::model("stories260k.gguf"));
  Recipe recipe = best_recipe();
  choose_method(recipe, GetParam().method);
  recipe.compute = torch::kFloat32;
  recipe.bits = GetParam().bits;
  recipe.act_bits = GetParam().act_bits;
  recipe.kv_bits = GetParam().kv_bits;
  ThreadPool pool(2);
  const auto student =
      start_student(source, nn::read_frozen(source, torch::kFloat32), recipe, pool, {});
  const auto logits = [&](nn::DecoderModel& model) {
    return torch::linear(model.forward(tokens.unsqueeze(0), {}).hidden, model.head())[0];
  };
  arch::PackOptions options;
  options.embedding = options.head = options.scales = formats::DType::kF32;
  set_storage(recipe, source, options);
  nn::save_packed(*student, source, dir / "m.gguf", options);
  const double trained = perplexity(logits(*student), tokens);
  const auto loaded = nn::load_packed(arch::Checkpoint::open(dir / "m.gguf"), torch::kFloat32,
                                      nn::SignGradient::kTanh, nn::kLatentScale);
  EXPECT_NEAR(perplexity(logits(*loaded), tokens), trained, kFlips * trained);
  for (const Activations activations : {Activations::kF32, Activations::kI8}) {
    const Tensor run = runtime_logits(dir / "m.gguf", ids, activations);
    EXPECT_NEAR(perplexity(run, tokens), trained, kFlips * trained);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodParity,
                         ::testing::Values(MethodCase{"w4a8kv8", StudentMethod::kLlmQat, 4, 8, 8},
                                           MethodCase{"w3", StudentMethod::kLlmQat, 3, 16, 16},
                                           MethodCase{"w8a4", StudentMethod::kLlmQat, 8, 4, 16},
                                           MethodCase{"bitnet", StudentMethod::kBitNet, 4, 8, 4},
                                           MethodCase{"bitnet158", StudentMethod::kBitNet158, 4, 8,
                                                      4},
                                           MethodCase{"lowrank", StudentMethod::kLowRank, 4, 8, 4}),
                         [](const auto& each) { return std::string(each.param.name); });

// With inputs as they are and no key or value near the middle between two of its few levels, which
// the test sees to, both engines round to the same ones: what is left is the rounding of f32 sums,
// of at most 70 products in some 15 matrices one after another, 15 · 70 · 2^-24 < 1e-4.
TEST(KeyValueParity, FewLevels) {
  constexpr double kSums = 1e-4;
  const torch::NoGradGuard no_grad;
  const testing::TempDir dir;
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::write_gguf(arch::test_models::random_model(config, 21), dir / "tiny.gguf");
  const arch::Checkpoint source = arch::Checkpoint::open(dir / "tiny.gguf");
  Rng rng(22);
  Ids ids(24);
  for (TokenId& t : ids) {
    t = static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(config.vocab)));
  }
  for (const int bits : {2, 3}) {
    SCOPED_TRACE(bits);
    Recipe recipe = best_recipe();
    choose_method(recipe, StudentMethod::kLlmQat);
    recipe.compute = torch::kFloat32;
    recipe.bits = 8;
    recipe.act_bits = arch::ActivationRule::kExact;
    recipe.kv_bits = bits;
    ThreadPool pool(1);
    const auto student =
        start_student(source, nn::read_frozen(source, torch::kFloat32), recipe, pool, {});
    double nearest = 1;  // to the middle between two levels, in steps
    nn::AttentionHooks hooks;
    hooks.cached = [&](const Tensor& t) {
      const Tensor steps = t / t.abs().amax(-1, /*keepdim=*/true) * ((1 << (bits - 1)) - 1);
      nearest = std::min(nearest, (steps - steps.floor() - 0.5).abs().min().item<double>());
      return nn::round_rows(t, arch::Rounding::kAbsMax, bits);
    };
    student->set_attention_hooks(hooks);
    const Tensor tokens = torch::tensor(ids, torch::kInt64).unsqueeze(0);
    const Tensor expected = torch::linear(student->forward(tokens, {}).hidden, student->head())[0];
    ASSERT_GT(nearest, 2e-5);
    const double most = kSums * expected.abs().max().item<double>();
    const auto run = [&](const char* name, int kv_bits) {
      arch::PackOptions options;
      options.embedding = options.head = options.scales = formats::DType::kF32;
      set_storage(recipe, source, options);
      options.provenance.activations.kv_bits = kv_bits;
      nn::save_packed(*student, source, dir / name, options);
      return runtime_logits(dir / name, ids, Activations::kF32);
    };
    const auto apart = [&](const Tensor& logits) {
      return (logits - expected).abs().max().item<double>();
    };
    EXPECT_LE(apart(run("rounded.gguf", bits)), most);
    // Without the key the same file is another model.
    EXPECT_GT(apart(run("exact.gguf", arch::ActivationRule::kExact)), 100 * most);
  }
}

}  // namespace
}  // namespace onebit::distill
