// The method `arb`: binarisation by calibration text, refined by turns.
#include "quant/arb_solver.h"
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {1};

class ArbQuantizer final : public CodeQuantizer {
 public:
  explicit ArbQuantizer(const MethodOptions& options) : CodeQuantizer(options.scales) {
    options_.refinement = options.refinement;
    if (options.group_size > 0) options_.block = options.group_size;
    options_.damping = options.damping;
    options_.scales = options.scales;
  }

 protected:
  arch::CodeSpec spec(const arch::TensorId&, const formats::Shape& shape) const override {
    return arb_spec(shape[1], options_);
  }

  arch::CodeValues quantize(const MatrixTask& task) override {
    return arb(task.weights, task.out, task.in, inputs(), options_, task.stop).values;
  }

 private:
  ArbOptions options_;
};

}  // namespace

extern const Method method_arb = {
    .name = "arb",
    .summary = "as billm, signs and magnitudes of each group fitted by turns (two bits in all)",
    .bits = kBits,
    .calibrates = Calibrates::kAlways,
    .make = [](const arch::Checkpoint&, const MethodOptions& options, ThreadPool&)
        -> std::unique_ptr<Quantizer> { return std::make_unique<ArbQuantizer>(options); },
};

}  // namespace onebit::quant
