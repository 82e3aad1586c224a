// The method `lowrank`: every matrix as two factors that take the bytes of a quantised one.
#include <fmt/format.h>
#include <map>
#include <torch/utils.h>

#include "base/error.h"
#include "nn/pack.h"
#include "quant/code_quantizer.h"
#include "quant/low_rank_solver.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {1, 2, 3, 4, 5, 6, 7, 8};

class LowRankQuantizer final : public Quantizer {
 public:
  explicit LowRankQuantizer(const MethodOptions& options)
      : bits_(options.bits), damping_(options.damping) {}

  arch::Storage storage(const arch::TensorId&, const formats::Shape& shape) const override {
    return spec(shape[0], shape[1]);
  }

  void set_inputs(const torch::Tensor& second_moment) override { inputs_ = second_moment; }

  void begin_layer(std::int64_t) override { kept_.clear(); }

  void save_block(BlockPart& part) const override {
    for (const auto& [id, factored] : kept_) {
      part.add(part_name(id.role, "a"), std::span<const float>(factored.a));
      part.add(part_name(id.role, "b"), std::span<const float>(factored.b));
    }
  }

  void restore_block(std::int64_t layer, std::span<const arch::Role> matrices,
                     const BlockPart& part, Calibration*) override {
    for (const arch::Role role : matrices) {
      kept_[{role, layer}] = {part.floats(part_name(role, "a")), part.floats(part_name(role, "b"))};
    }
  }

  MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) override {
    const Factored& factored = factor(task);
    writer.add_low_rank(task.role, task.layer, factored.a, factored.b);
    return meaning(task, factored).report;
  }

  FakeQuantized fake_quantize(const MatrixTask& task) override {
    return meaning(task, factor(task));
  }

 private:
  struct Factored {
    std::vector<float> a;
    std::vector<float> b;
  };

  static std::string part_name(arch::Role role, const char* factor) {
    return fmt::format("{}.{}", static_cast<int>(role), factor);
  }

  arch::LowRankSpec spec(std::int64_t out, std::int64_t in) const {
    return {.rank = rank_for(bits_, out, in)};
  }

  /// Kept for the layer: a matrix is asked for twice where calibration wants to see it first.
  const Factored& factor(const MatrixTask& task) {
    const arch::TensorId id{task.role, task.layer};
    if (const auto found = kept_.find(id); found != kept_.end()) return found->second;
    require_finite(task);
    const torch::NoGradGuard no_grad;
    const torch::Tensor w =
        torch::tensor(at::ArrayRef<float>(task.weights.data(), task.weights.size()))
            .view({task.out, task.in});
    const arch::LowRankSpec stored = spec(task.out, task.in);
    const LowRankFactors factors =
        inputs_.defined() ? by_inputs(w, stored.rank) : low_rank(w, stored.rank);
    inputs_.reset();
    const auto rounded = [](const torch::Tensor& t) {
      return nn::values_of(t.to(torch::kFloat16));
    };
    return kept_.emplace(id, Factored{rounded(factors.a), rounded(factors.b)}).first->second;
  }

  /// With as little damping as makes the moment positive definite: outliers dominate its mean.
  LowRankFactors by_inputs(const torch::Tensor& w, std::int64_t rank) const {
    constexpr double kMost = 0.01;
    double damping = damping_;
    while (true) {
      try {
        return low_rank_aware(w, rank, inputs_, damping);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNumeric || damping == 0 || damping * 10 > kMost) throw;
      }
      damping *= 10;
    }
  }

  FakeQuantized meaning(const MatrixTask& task, const Factored& factored) const {
    const torch::NoGradGuard no_grad;
    const arch::LowRankSpec stored = spec(task.out, task.in);
    if (std::ssize(factored.a) != task.out * stored.rank ||
        std::ssize(factored.b) != stored.rank * task.in) {
      throw Error(ErrorCode::kCorrupt,
                  "found other factors than a matrix has in what an earlier run has left, expected "
                  "its own; --restart begins anew");
    }
    const auto matrix = [](const std::vector<float>& values, std::int64_t rows) {
      return torch::tensor(at::ArrayRef<float>(values), torch::kFloat64).view({rows, -1});
    };
    FakeQuantized fake;
    fake.weights =
        nn::values_of(matrix(factored.a, task.out).matmul(matrix(factored.b, stored.rank)));
    fake.report.shape = {task.out, task.in};
    fake.report.stored_bytes = stored.bytes(task.out, task.in);
    measure_error(task, fake.weights, fake.report);
    return fake;
  }

  int bits_;
  double damping_;
  torch::Tensor inputs_;
  std::map<arch::TensorId, Factored> kept_;
};

}  // namespace

extern const Method method_lowrank = {
    .name = "lowrank",
    .summary =
        "two factors as large as such weights, of inputs too where there is calibration text",
    .bits = kBits,
    .calibrates = Calibrates::kIfAsked,
    .damping = 1e-6,
    .make = [](const arch::Checkpoint&, const MethodOptions& options, ThreadPool&)
        -> std::unique_ptr<Quantizer> { return std::make_unique<LowRankQuantizer>(options); },
};

}  // namespace onebit::quant
