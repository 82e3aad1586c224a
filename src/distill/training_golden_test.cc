// Twenty steps of distillation on a real model against a PyTorch script written from the formulas
// (tools/golden/make_training.py): losses, gradients, latent weights, scales and flipped signs;
// once with the reference's settings and once with each other loss term, optimiser and form.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <torch/utils.h>

#include "arch/folding.h"
#include "base/test_paths.h"
#include "distill/distiller.h"
#include "distill/schedule.h"
#include "file/safetensors.h"
#include "nn/load.h"
#include "nn/test_golden.h"

namespace onebit::distill {
namespace {

using testing::GoldenTensors;
using torch::Tensor;

constexpr std::int64_t kSteps = 20;
constexpr std::int64_t kProjections = 16;
constexpr double kTolerance = 1e-8;

std::filesystem::path stories() { return testing::model("stories260k.gguf"); }
std::filesystem::path golden(const char* name) { return testing::golden("training") / name; }

/// SplitMix64 seeded with 0: the generator of the golden file's ±1 projections.
std::uint64_t splitmix64(std::uint64_t index) {
  std::uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

Tensor project(const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(torch::kFloat64).contiguous();
  const std::int64_t count = flat.numel();
  const std::int64_t words = (count + 63) / 64;
  const double* data = flat.const_data_ptr<double>();
  Tensor result = torch::zeros({kProjections}, torch::kFloat64);
  for (std::int64_t p = 0; p < kProjections; ++p) {
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t word = splitmix64(static_cast<std::uint64_t>(p * words + i / 64));
      sum += ((word >> (i % 64)) & 1U) != 0 ? -data[i] : data[i];
    }
    result[p] = sum;
  }
  return result;
}

/// ‖tensor − golden‖ / ‖golden‖: exact where the golden file has the tensor, else estimated from
/// its projections (unbiased in the square; 16 projections give it within a factor of 2 or so).
double relative_error(const GoldenTensors& golden, const std::string& name, const Tensor& tensor) {
  if (golden.has(name)) {
    const Tensor expected = golden.get(name);
    return ((tensor.detach() - expected).norm() / expected.norm()).item<double>();
  }
  const Tensor difference = project(tensor) - golden.get(name + ".projections");
  return (difference.square().mean().sqrt() / golden.get(name + ".norm")).item<double>();
}

struct Models {
  std::unique_ptr<nn::DecoderModel> teacher;
  std::unique_ptr<nn::DecoderModel> student;
};

/// The golden run's start: latent = 0.01 · sign(W), g and h as the script found them. `tied`: the
/// scales of a run whose matrices share theirs.
Models make_models(const GoldenTensors& start, torch::ScalarType compute, nn::OneBitOptions options,
                   const GoldenTensors* tied, const std::string& prefix) {
  const arch::Checkpoint checkpoint = arch::Checkpoint::open(stories());
  const auto type = nn::master_type(compute);
  const std::vector<arch::Folding> foldings = arch::foldings(checkpoint.config());
  std::map<std::string, Tensor> shared;
  Models models;
  models.teacher = nn::load_dense(checkpoint, compute);
  models.student = nn::make_student(
      checkpoint, models.teacher->frozen(), compute, options,
      [&](const arch::TensorSpec& spec, std::int64_t layer, const Tensor& w) {
        const std::string name = arch::gguf_name(spec, layer);
        nn::OneBitStart result;
        result.latent =
            nn::latent_start(w.to(torch::kFloat64), {}, nn::LatentStart::kSign, nn::kLatentScale);
        if (tied == nullptr) {
          result.g = start.get(name + ".g");
          result.h = start.get(name + ".h");
          return result;
        }
        const arch::Folding& folding = arch::folding_of(foldings, spec.role);
        const std::string owner = arch::gguf_name(
            *arch::find_tensor(*checkpoint.config().arch, folding.readers[0]), layer);
        Tensor& g = shared[owner];
        if (!g.defined()) g = tied->get(prefix + "start/" + owner + ".g").to(type).requires_grad_();
        result.g = g;
        result.h = tied->get(prefix + "start/" + name + ".h");
        if (!folding.tie.empty()) result.tie = torch::tensor(folding.tie, torch::kInt64);
        return result;
      });
  return models;
}

bool is_latent(const nn::Parameter& parameter) { return parameter.name.ends_with(".latent"); }

/// Everything that tools/accept/training.py compares tensor by tensor with the script's run.
void write_tensors(const std::map<std::string, Tensor>& tensors) {
  file::SafetensorsWriter writer(std::filesystem::path(ONEBIT_BINARY_DIR) /
                                 "training_run.safetensors");
  for (const auto& [name, value] : tensors) {
    writer.declare(name, formats::DType::kF64, value.sizes().vec());
  }
  for (const auto& [name, value] : tensors) {
    const Tensor flat = value.contiguous();
    writer.write(name, {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
  }
  writer.finish();
}

/// The latent matrices after each step.
using Latents = std::vector<std::vector<Tensor>>;

/// How far a run is from the golden one: the largest relative error of each kind.
struct Deviation {
  double losses = 0;
  double gradients = 0;
  double parameters = 0;
  std::int64_t weights = 0;
  std::int64_t flips = 0;            ///< signs that the run flipped
  std::int64_t different_flips = 0;  ///< signs that only one of the two runs flipped
  std::int64_t ties = 0;             ///< latents that take_sides() moved
  double widest_tie = 0;             ///< how far at most
  Latents latents;
};

/// Into the test program's report, from which tools/accept/training.py prints them.
void record(const Deviation& d) {
  const auto text = [](double value) { return fmt::format("{:.3e}", value); };
  ::testing::Test::RecordProperty("losses", text(d.losses));
  ::testing::Test::RecordProperty("gradients", text(d.gradients));
  ::testing::Test::RecordProperty("parameters", text(d.parameters));
  ::testing::Test::RecordProperty("different_flips", std::to_string(d.different_flips));
  ::testing::Test::RecordProperty("ties", std::to_string(d.ties));
  ::testing::Test::RecordProperty("widest_tie", text(d.widest_tie));
}

void worsen(double& worst, double error) {
  worst = std::isnan(error) || error > worst ? error : worst;
}

/// A latent that is zero within f32's rounding falls on either side, and from there on two correct
/// runs part: the script's own f32 run leaves its f64 run so with some vector instruction sets and
/// not with others. Moves every latent on the other side than `expected` to that side.
void take_sides(const std::vector<Tensor>& latents, const std::vector<Tensor>& expected,
                Deviation& deviation) {
  const torch::NoGradGuard no_grad;
  ASSERT_EQ(latents.size(), expected.size());
  for (std::size_t i = 0; i < latents.size(); ++i) {
    Tensor latent = latents[i];
    const Tensor tie = latent.lt(0).logical_xor(expected[i].lt(0));
    if (!tie.any().item<bool>()) continue;
    deviation.ties += tie.sum().item<std::int64_t>();
    const double widest = (latent - expected[i]).abs().masked_select(tie).max().item<double>();
    deviation.widest_tie = std::max(deviation.widest_tie, widest);
    latent.copy_(torch::where(tie, expected[i].to(latent.scalar_type()), latent));
  }
}

/// One of the script's runs, and the settings that it is made with; the first are the reference's.
struct GoldenRun {
  const char* name = "";  ///< of a variant; empty: the reference's own run
  LossOptions loss = {};
  Decoupling optimizer = Decoupling::kAdamW;
  bool train_norms = false;
  nn::OneBitOptions form = {arch::Form::kPaper, nn::SignGradient::kTanh};

  bool is_variant() const { return *name != '\0'; }
  GoldenTensors open() const {
    return GoldenTensors(golden(is_variant() ? "variants.safetensors" : "run.safetensors"));
  }
  std::string prefix() const { return is_variant() ? std::string(name) + "/" : std::string(); }
};

/// With `sides`, another run's latents, ties are decided as there.
Deviation train_and_compare(torch::ScalarType compute, const GoldenRun& run,
                            const Latents* sides = nullptr) {
  const GoldenTensors start(golden("start.safetensors"));
  const GoldenTensors expected = run.open();
  const std::string prefix = run.prefix();
  const bool tied = run.form.form == arch::Form::kFoldable;
  const Models models = make_models(start, compute, run.form, tied ? &expected : nullptr, prefix);
  if (run.train_norms) models.student->train_norms();
  const std::vector<nn::Parameter> parameters = models.student->parameters();
  const Tensor tokens = start.get("tokens").to(torch::kInt64);
  std::map<std::string, Tensor> first_signs;
  std::map<std::string, Tensor> tensors;
  std::vector<Tensor> latents;
  Deviation deviation;

  AdamOptions adam;
  adam.kind = run.optimizer;
  Distiller distiller(models.teacher.get(), *models.student, run.loss, adam);
  distiller.accumulate(tokens[0], 1.0);
  for (const nn::Parameter& p : parameters) {
    worsen(deviation.gradients,
           relative_error(expected, prefix + "gradient/" + p.name, p.value.grad()));
    tensors["gradient/" + p.name] = p.value.grad().clone();
    p.value.mutable_grad().reset();
    if (!is_latent(p)) continue;
    first_signs[p.name] = p.value.detach().lt(0);
    latents.push_back(p.value);
  }
  const Tensor table = expected.get(prefix + "losses");
  const Schedule schedule{.peak = 2e-3, .warmup = 0, .total = kSteps, .decay = Decay::kCosine};
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const Tensor batch = tokens[step];
    const StepMetrics m = distiller.step({&batch, 1}, schedule.at(step));
    const double kl_per_sequence = m.kl_per_token * static_cast<double>(batch.size(1));
    const double row[] = {m.loss,   kl_per_sequence, m.ce_per_token,
                          m.hidden, m.grad_norm,     m.attention};
    for (int i = 0; i < (run.loss.gamma != 0 ? 6 : 5); ++i) {
      const double golden_value = table[step][i].item<double>();
      worsen(deviation.losses, std::abs(row[i] - golden_value) / std::abs(golden_value));
    }
    const auto index = static_cast<std::size_t>(step);
    if (sides != nullptr) take_sides(latents, sides->at(index), deviation);
    std::vector<Tensor>& copies = deviation.latents.emplace_back();
    for (const Tensor& latent : latents) copies.push_back(latent.detach().clone());
  }
  for (const nn::Parameter& p : parameters) {
    worsen(deviation.parameters, relative_error(expected, prefix + "end/" + p.name, p.value));
    tensors["end/" + p.name] = p.value.detach();
    if (!is_latent(p)) continue;
    const Tensor flipped = p.value.detach().lt(0).logical_xor(first_signs[p.name]).flatten();
    const Tensor bytes =
        expected.get(prefix + "flipped/" + p.name).to(torch::kInt64).bitwise_and(0xFF);
    const Tensor bits = bytes.unsqueeze(1).bitwise_right_shift(torch::arange(8)).bitwise_and(1);
    const Tensor golden_flipped = bits.flatten().narrow(0, 0, flipped.numel()).to(torch::kBool);
    deviation.weights += flipped.numel();
    deviation.flips += flipped.sum().item<std::int64_t>();
    deviation.different_flips += flipped.logical_xor(golden_flipped).sum().item<std::int64_t>();
  }
  if (compute == torch::kFloat64 && !run.is_variant() &&
      run.form.gradient == nn::SignGradient::kTanh) {
    write_tensors(tensors);
  }
  record(deviation);
  return deviation;
}

TEST(TrainingGolden, RotaryFrequenciesAreTheScripts) {
  ONEBIT_REQUIRE_FILE(stories());
  const Tensor expected = GoldenTensors(golden("start.safetensors")).get("inv_freq");
  const std::vector<float> ours =
      arch::rope_frequencies(arch::Checkpoint::open(stories()).config());
  ASSERT_EQ(static_cast<std::int64_t>(ours.size()), expected.numel());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i], expected[static_cast<std::int64_t>(i)].item<float>()) << i;
  }
}

TEST(TrainingGolden, Float64MatchesTheScript) {
  ONEBIT_REQUIRE_FILE(stories());
  const Deviation d = train_and_compare(torch::kFloat64, {});
  EXPECT_LE(d.losses, kTolerance);
  EXPECT_LE(d.gradients, kTolerance);
  EXPECT_LE(d.parameters, kTolerance);
  EXPECT_GE(d.flips, d.weights / 100);
  EXPECT_EQ(d.different_flips, 0);
}

// The comparison must notice the one formula that a working training loop could get wrong unseen.
TEST(TrainingGolden, IdentityGradientIsNoticed) {
  ONEBIT_REQUIRE_FILE(stories());
  const Deviation d = train_and_compare(
      torch::kFloat64, {.form = {arch::Form::kPaper, nn::SignGradient::kIdentity}});
  EXPECT_GT(d.gradients, 100 * kTolerance);
  EXPECT_GT(d.parameters, 100 * kTolerance);
  EXPECT_GT(d.losses, 100 * kTolerance);
}

TEST(TrainingGolden, Float32StaysClose) {
  ONEBIT_REQUIRE_FILE(stories());
  const Deviation f64 = train_and_compare(torch::kFloat64, {});
  const Deviation d = train_and_compare(torch::kFloat32, {}, &f64.latents);
  EXPECT_LE(d.losses, 1e-4);
  EXPECT_LE(d.gradients, 1e-4);
  EXPECT_LE(d.ties, d.weights / 10000);
  EXPECT_LE(d.widest_tie, 1e-3 * nn::kLatentScale);
}

void PrintTo(const GoldenRun& run, std::ostream* out) { *out << run.name; }

class Variant : public ::testing::TestWithParam<GoldenRun> {};

TEST_P(Variant, Float64MatchesTheScript) {
  ONEBIT_REQUIRE_FILE(stories());
  const Deviation d = train_and_compare(torch::kFloat64, GetParam());
  EXPECT_LE(d.losses, kTolerance);
  EXPECT_LE(d.gradients, kTolerance);
  EXPECT_LE(d.parameters, kTolerance);
  EXPECT_GE(d.flips, d.weights / 100);
  EXPECT_EQ(d.different_flips, 0);
}

INSTANTIATE_TEST_SUITE_P(
    TrainingGolden, Variant,
    ::testing::Values(
        GoldenRun{.name = "alpha", .loss = {.logit = {.alpha = 0.7}}},
        GoldenRun{.name = "per_token", .loss = {.logit = {.reduction = LogitReduction::kPerToken}}},
        GoldenRun{.name = "temperature", .loss = {.logit = {.alpha = 0.7, .temperature = 2.0}}},
        GoldenRun{.name = "cross_entropy", .loss = {.logit = {.term = LogitTerm::kCrossEntropy}}},
        GoldenRun{.name = "hidden_last", .loss = {.hidden_last = true}},
        GoldenRun{.name = "gamma", .loss = {.gamma = 0.5}},
        GoldenRun{.name = "adam", .optimizer = Decoupling::kAdam},
        GoldenRun{.name = "norms", .train_norms = true},
        GoldenRun{.name = "free", .form = {arch::Form::kFree, nn::SignGradient::kTanh}},
        GoldenRun{.name = "foldable", .form = {arch::Form::kFoldable, nn::SignGradient::kTanh}},
        GoldenRun{.name = "groups", .form = {arch::Form::kFoldable, nn::SignGradient::kTanh, 32}}),
    [](const auto& run) { return std::string(run.param.name); });

}  // namespace
}  // namespace onebit::distill
