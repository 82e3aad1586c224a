// BitNet from scratch and LLM-QAT from a teacher, step by step against PyTorch scripts
// (tools/golden/make_bitnet.py, make_llm_qat.py): the first step's gradients, all losses, and every
// tensor at the end.
#include "distill/student_method.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <numbers>
#include <torch/utils.h>

#include "base/test_paths.h"
#include "distill/distiller.h"
#include "nn/activations.h"
#include "nn/test_golden.h"

namespace onebit::distill {
namespace {

using testing::GoldenTensors;
using torch::Tensor;

constexpr std::int64_t kSteps = 20;

/// The scripts' model (tools/golden/rivals_llama.py).
arch::ModelConfig tiny_llama(bool block_norms) {
  arch::ModelConfig config;
  config.arch = &arch::arch_by_gguf_name("llama");
  config.vocab = 40;
  config.dim = 36;
  config.layers = 2;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 6;
  config.ffn = 40;
  config.context = 14;
  config.norm_eps = 1e-5;
  config.block_norms = block_norms;
  return config;
}

Tensor start_of(const GoldenTensors& golden, const std::string& name) {
  return golden.get("start/" + name + ".weight").to(torch::kFloat64);
}

nn::FrozenWeights frozen(const GoldenTensors& golden, const arch::ModelConfig& config) {
  nn::FrozenWeights frozen;
  frozen.embedding = start_of(golden, "token_embd");
  frozen.head = start_of(golden, "output");
  frozen.output_norm = start_of(golden, "output_norm");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const auto norm = [&](const char* name) {
      return config.block_norms ? start_of(golden, fmt::format("blk.{}.{}", i, name)) : Tensor();
    };
    frozen.attn_norm.push_back(norm("attn_norm"));
    frozen.ffn_norm.push_back(norm("ffn_norm"));
  }
  return frozen;
}

std::unique_ptr<nn::DecoderModel> make_student(const GoldenTensors& golden,
                                               const arch::ModelConfig& config,
                                               const Recipe& recipe) {
  auto student = std::make_unique<nn::DecoderModel>(
      config, frozen(golden, config), torch::kFloat64,
      [&](const arch::TensorSpec& spec, std::int64_t layer) {
        return start_layer(recipe, config.norm_eps, start_of(golden, arch::gguf_name(spec, layer)));
      });
  student->train_norms();
  student->train_ends();
  return student;
}

double relative(const Tensor& found, const Tensor& expected) {
  return ((found.detach() - expected).norm() / expected.norm()).item<double>();
}

Tensor tokens_of(const GoldenTensors& golden, std::int64_t step) {
  return golden.get("tokens")[step].to(torch::kInt64);
}

void expect_end(const GoldenTensors& golden, const std::string& prefix,
                const nn::DecoderModel& student) {
  for (const nn::Parameter& p : student.parameters()) {
    EXPECT_LT(relative(p.value, golden.get(prefix + "/end/" + p.name)), 1e-8) << p.name;
  }
}

/// Those of the first step that the file has, before clipping; how many.
int expect_gradients(const GoldenTensors& golden, const std::string& prefix,
                     const nn::DecoderModel& student, Distiller& distiller) {
  distiller.accumulate(tokens_of(golden, 0), 1.0);
  int compared = 0;
  for (const nn::Parameter& p : student.parameters()) {
    const std::string name = prefix + "/gradient/" + p.name;
    if (!golden.has(name)) continue;
    EXPECT_LT(relative(p.value.grad(), golden.get(name)), 1e-8) << name;
    ++compared;
  }
  distiller.optimizer().drop_gradients();
  return compared;
}

/// `distiller` between two steps, with another weight decay, which no run here changes.
std::unique_ptr<Distiller> with_decay(double decay, nn::DecoderModel& student,
                                      const LossOptions& loss, AdamOptions adam,
                                      const Distiller& distiller) {
  adam.weight_decay = decay;
  auto result = std::make_unique<Distiller>(nullptr, student, loss, adam);
  const Adam& before = distiller.optimizer();
  for (std::size_t i = 0; i < before.parameters().size(); ++i) {
    Tensor(result->optimizer().first_moments()[i]).copy_(before.first_moments()[i]);
    Tensor(result->optimizer().second_moments()[i]).copy_(before.second_moments()[i]);
  }
  result->optimizer().set_steps(before.steps());
  return result;
}

class BitNetTraining : public ::testing::TestWithParam<const char*> {};

TEST_P(BitNetTraining, FromScratchAsTheReference) {
  const std::string name = GetParam();
  const GoldenTensors golden(testing::golden("rivals/bitnet.safetensors"));
  const arch::ModelConfig config = tiny_llama(/*block_norms=*/false);
  Recipe recipe = best_recipe();
  recipe.compute = torch::kFloat64;
  choose_method(recipe, *value_of<StudentMethod>(name));
  const auto student = make_student(golden, config, recipe);

  const std::string run = "run/" + name;
  const Tensor rates = golden.get(run + "/rates");
  const Tensor decays = golden.get(run + "/decays");
  const Tensor losses = golden.get(run + "/losses");
  LossOptions labels;
  labels.logit.alpha = 0;
  labels.beta = 0;
  AdamOptions adam;
  adam.beta2 = recipe.adam.beta2;
  adam.weight_decay = decays[0].item<double>();
  adam.max_grad_norm = 0;
  auto distiller = std::make_unique<Distiller>(nullptr, *student, labels, adam);
  EXPECT_EQ(expect_gradients(golden, run, *student, *distiller), 1);  // the last norm's
  for (std::int64_t step = 0; step < kSteps; ++step) {
    if (name == "bitnet158" && step == kSteps / 2) {  // its decay ends
      ASSERT_EQ(decays[step].item<double>(), 0);
      distiller = with_decay(0, *student, labels, adam, *distiller);
    }
    const Tensor batch = tokens_of(golden, step);
    const StepMetrics metrics = distiller->step(std::span(&batch, 1), rates[step].item<double>());
    const double expected = losses[step].item<double>();
    EXPECT_NEAR(metrics.loss, expected, 1e-10 * expected) << step;
    EXPECT_DOUBLE_EQ(metrics.loss, metrics.ce_per_token);
  }
  expect_end(golden, run, *student);
}

INSTANTIATE_TEST_SUITE_P(Methods, BitNetTraining, ::testing::Values("bitnet", "bitnet158"));

struct Bits {
  const char* name;
  int weights;
  int activations;
  int cache;
};
void PrintTo(const Bits& bits, std::ostream* out) { *out << bits.name; }

class LlmQatTraining : public ::testing::TestWithParam<Bits> {};

TEST_P(LlmQatTraining, FromItsTeacherAsTheReference) {
  const GoldenTensors golden(testing::golden("rivals/llm_qat.safetensors"));
  const arch::ModelConfig config = tiny_llama(/*block_norms=*/true);
  Recipe recipe = paper_recipe();
  recipe.compute = torch::kFloat64;
  choose_method(recipe, StudentMethod::kLlmQat);
  recipe.bits = GetParam().weights;
  recipe.act_bits = GetParam().activations;
  recipe.kv_bits = GetParam().cache;
  nn::DecoderModel teacher(
      config, frozen(golden, config), torch::kFloat64,
      [&](const arch::TensorSpec& spec, std::int64_t layer) {
        return std::make_unique<nn::DenseLinear>(start_of(golden, arch::gguf_name(spec, layer)));
      });
  const auto student = make_student(golden, config, recipe);
  student->set_attention_hooks(nn::attention_hooks(activation_rule(recipe)));

  recipe.loss.logit.scale = 1;
  recipe.loss.logit.reduction = LogitReduction::kPerSequence;
  Distiller distiller(&teacher, *student, recipe.loss, recipe.adam);
  const std::string run = GetParam().name;
  EXPECT_EQ(expect_gradients(golden, run, *student, distiller), std::ssize(student->parameters()));
  const Tensor table = golden.get(run + "/losses");
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const Tensor batch = tokens_of(golden, step);
    const double rate =
        5e-4 *
        (1 + std::cos(std::numbers::pi * static_cast<double>(step) / static_cast<double>(kSteps))) /
        2;
    const StepMetrics metrics = distiller.step(std::span(&batch, 1), rate);
    const double* expected = table.const_data_ptr<double>() + 3 * step;
    EXPECT_NEAR(metrics.loss, expected[0], 1e-9 * expected[0]) << step;
    EXPECT_NEAR(metrics.kl_per_token * static_cast<double>(batch.size(1)), expected[1],
                1e-8 * expected[0])
        << step;
    EXPECT_NEAR(metrics.grad_norm, expected[2], 1e-8 * expected[2]) << step;
  }
  expect_end(golden, run, *student);
}

INSTANTIATE_TEST_SUITE_P(Bits, LlmQatTraining,
                         ::testing::Values(Bits{"w4a16kv16", 4, 16, 16}, Bits{"w4a8kv4", 4, 8, 4},
                                           Bits{"w3a8kv8", 3, 8, 8}),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace onebit::distill
