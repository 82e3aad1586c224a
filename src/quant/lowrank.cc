// The method `lowrank`: every matrix as two factors that take the bytes of a quantised one.
#include <optional>
#include <torch/utils.h>

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

  MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) override {
    const Factored& factored = factor(task);
    writer.add_low_rank(task.role, task.layer, factored.a, factored.b);
    return factored.fake.report;
  }

  FakeQuantized fake_quantize(const MatrixTask& task) override { return factor(task).fake; }

 private:
  struct Factored {
    std::vector<float> a;
    std::vector<float> b;
    FakeQuantized fake;
  };

  arch::LowRankSpec spec(std::int64_t out, std::int64_t in) const {
    return {.rank = rank_for(bits_, out, in)};
  }

  /// The factors of the matrix asked for last are kept: it is asked for twice where calibration
  /// wants to see it first.
  const Factored& factor(const MatrixTask& task) {
    const arch::TensorId id{task.role, task.layer};
    if (last_ && last_->first == id) return last_->second;
    require_finite(task);
    const torch::NoGradGuard no_grad;
    const torch::Tensor w =
        torch::tensor(at::ArrayRef<float>(task.weights.data(), task.weights.size()))
            .view({task.out, task.in});
    const arch::LowRankSpec stored = spec(task.out, task.in);
    const LowRankFactors factors = inputs_.defined()
                                       ? low_rank_aware(w, stored.rank, inputs_, damping_)
                                       : low_rank(w, stored.rank);
    const auto rounded = [](const torch::Tensor& t) {
      return t.to(torch::kFloat16).to(torch::kFloat64);
    };
    const torch::Tensor a = rounded(factors.a);
    const torch::Tensor b = rounded(factors.b);
    Factored result{nn::values_of(a), nn::values_of(b), {}};
    result.fake.weights = nn::values_of(a.matmul(b));
    result.fake.report.shape = {task.out, task.in};
    result.fake.report.stored_bytes = stored.bytes(task.out, task.in);
    measure_error(task, result.fake.weights, result.fake.report);
    inputs_.reset();
    last_.emplace(id, std::move(result));
    return last_->second;
  }

  int bits_;
  double damping_;
  torch::Tensor inputs_;
  std::optional<std::pair<arch::TensorId, Factored>> last_;
};

}  // namespace

extern const Method method_lowrank = {
    .name = "lowrank",
    .summary =
        "two factors as large as such weights, of inputs too where there is calibration text",
    .bits = kBits,
    .calibrates = Calibrates::kIfAsked,
    .make = [](const arch::Checkpoint&, const MethodOptions& options, ThreadPool&)
        -> std::unique_ptr<Quantizer> { return std::make_unique<LowRankQuantizer>(options); },
};

}  // namespace onebit::quant
