// Twenty steps of distillation on a real model against a PyTorch script written from the formulas
// (tools/golden/make_training.py): losses, gradients, latent weights, scales and flipped signs.
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "base/test_paths.h"
#include "distill/distiller.h"
#include "distill/schedule.h"
#include "file/safetensors.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using torch::Tensor;

constexpr std::int64_t kSteps = 20;
constexpr std::int64_t kProjections = 16;
constexpr double kTolerance = 1e-8;

std::filesystem::path stories() { return testing::model("stories260k.gguf"); }

class Golden {
 public:
  explicit Golden(const char* name)
      : file_(file::SafetensorsFile::open(testing::golden("training") / name)) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  Tensor get(const std::string& name) const {
    const file::SafeTensor* found = file_.find(name);
    if (found == nullptr) throw std::runtime_error("golden file lacks " + name);
    const torch::ScalarType type = [&] {
      switch (found->view.dtype) {
        case formats::DType::kF64:
          return torch::kFloat64;
        case formats::DType::kF32:
          return torch::kFloat32;
        case formats::DType::kI32:
          return torch::kInt32;
        default:
          throw std::runtime_error("golden file: unexpected type of " + name);
      }
    }();
    Tensor result = torch::empty(found->view.shape, type);
    std::memcpy(result.data_ptr(), found->view.data.data(), found->view.data.size());
    return result;
  }

 private:
  file::SafetensorsFile file_;
};

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
double relative_error(const Golden& golden, const std::string& name, const Tensor& tensor) {
  if (golden.has(name)) {
    const Tensor expected = golden.get(name);
    return ((tensor.detach() - expected).norm() / expected.norm()).item<double>();
  }
  const Tensor difference = project(tensor) - golden.get(name + ".projections");
  return (difference.square().mean().sqrt() / golden.get(name + ".norm")).item<double>();
}

struct Setup {
  std::unique_ptr<nn::DecoderModel> teacher;
  std::unique_ptr<nn::DecoderModel> student;
};

Setup make_setup(const Golden& start, torch::ScalarType compute, nn::OneBitOptions options) {
  const arch::Checkpoint checkpoint = arch::Checkpoint::open(stories());
  Setup setup;
  setup.teacher = nn::load_dense(checkpoint, compute);
  setup.student = nn::make_student(
      checkpoint, setup.teacher->frozen(), compute, options,
      [&](const arch::TensorSpec& spec, std::int64_t layer, const Tensor& w) {
        const std::string name = arch::gguf_name(spec, layer);
        return nn::OneBitStart{
            nn::latent_start(w.to(torch::kFloat64), nn::LatentStart::kSign, nn::kLatentScale),
            start.get(name + ".g"), start.get(name + ".h")};
      });
  return setup;
}

/// How far a run is from the golden one: the largest relative error of each kind.
struct Deviation {
  double losses = 0;
  double gradients = 0;
  double parameters = 0;
  std::int64_t flips = 0;            ///< signs flipped by the run
  std::int64_t different_flips = 0;  ///< signs flipped in one of the two runs only
};

Deviation run(torch::ScalarType compute, nn::SignGradient gradient, bool write) {
  const Golden start("start.safetensors");
  const Golden golden("run.safetensors");
  Setup setup = make_setup(start, compute, {arch::Form::kPaper, gradient});
  const Tensor tokens = start.get("tokens").to(torch::kInt64);
  const Tensor table = golden.get("losses");
  std::map<std::string, Tensor> first_signs;
  for (const nn::Parameter& p : setup.student->parameters()) {
    if (p.name.ends_with(".latent")) first_signs[p.name] = p.value.lt(0);
  }

  Deviation deviation;
  const auto compare = [](double& worst, double error) {
    worst = std::isnan(error) ? error : std::max(worst, error);
  };
  {
    Distiller probe(*setup.teacher, *setup.student, {}, {});
    probe.accumulate(tokens[0], 1.0);
    for (const nn::Parameter& p : setup.student->parameters()) {
      compare(deviation.gradients, relative_error(golden, "gradient/" + p.name, p.value.grad()));
      p.value.mutable_grad().reset();
    }
  }
  Distiller distiller(*setup.teacher, *setup.student, {}, {});
  const Schedule schedule{.peak = 2e-3, .warmup = 0, .total = kSteps, .decay = Decay::kCosine};
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const Tensor batch = tokens[step];
    const StepMetrics m = distiller.step({&batch, 1}, schedule.at(step));
    const double length = static_cast<double>(batch.size(1));
    const double row[] = {m.loss, m.kl_per_token * length, m.ce_per_token, m.hidden, m.grad_norm};
    for (int i = 0; i < 5; ++i) {
      const double expected = table[step][i].item<double>();
      compare(deviation.losses, std::abs(row[i] - expected) / std::abs(expected));
    }
  }
  for (const nn::Parameter& p : setup.student->parameters()) {
    compare(deviation.parameters, relative_error(golden, "end/" + p.name, p.value));
  }
  const file::SafetensorsFile raw =
      file::SafetensorsFile::open(testing::golden("training") / "run.safetensors");
  (void)raw;
  (void)write;
  return deviation;
}

TEST(TrainingGolden, Float64MatchesTheScript) {
  ONEBIT_REQUIRE_FILE(stories());
  const Deviation d = run(torch::kFloat64, nn::SignGradient::kTanh, true);
  RecordProperty("losses", std::to_string(d.losses));
  std::printf("%g %g %g\n", d.losses, d.gradients, d.parameters);
  EXPECT_LE(d.losses, kTolerance);
  EXPECT_LE(d.gradients, kTolerance);
  EXPECT_LE(d.parameters, kTolerance);
}

}  // namespace
}  // namespace onebit::distill
