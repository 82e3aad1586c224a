// The method `gptq`: rounding that makes up for what it loses, by calibration text.
#include "quant/code_quantizer.h"
#include "quant/gptq_solver.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {4, 1, 2, 3, 5, 6, 7, 8};

class GptqQuantizer final : public CodeQuantizer {
 public:
  GptqQuantizer(const MethodOptions& options, ThreadPool& pool)
      : CodeQuantizer(options.scales), pool_(pool) {
    options_.grid = {options.bits, options.symmetric, options.scales};
    options_.group_size = options.group_size;
    options_.damping = options.damping;
    options_.act_order = options.act_order;
    options_.static_groups = options.static_groups;
  }

 protected:
  arch::CodeSpec spec(const arch::TensorId&, const formats::Shape& shape) const override {
    arch::CodeSpec spec;
    spec.bits = options_.grid.bits;
    spec.groups = arch::group_count(shape[1], options_.group_size);
    spec.ordered = options_.ordered();
    if (!options_.grid.symmetric) spec.zero = formats::DType::kI8;
    return spec;
  }

  arch::CodeValues quantize(const MatrixTask& task) override {
    return gptq(task.weights, task.out, task.in, inputs(), options_, pool_, task.stop);
  }

 private:
  GptqOptions options_;
  ThreadPool& pool_;
};

std::unique_ptr<Quantizer> make_gptq(const arch::Checkpoint&, const MethodOptions& options,
                                     ThreadPool& pool) {
  return std::make_unique<GptqQuantizer>(options, pool);
}

}  // namespace

extern const Method method_gptq = {
    .name = "gptq",
    .summary = "as rtn, column by column, each making up for what those before it lost",
    .bits = kBits,
    .calibrates = Calibrates::kAlways,
    .make = make_gptq,
};

}  // namespace onebit::quant
