// The method `billm`: binarisation by calibration text, salient columns twice over.
#include "quant/billm_solver.h"
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {1};

class BillmQuantizer final : public CodeQuantizer {
 public:
  explicit BillmQuantizer(const MethodOptions& options) : CodeQuantizer(options.scales) {
    if (options.group_size > 0) options_.block = options.group_size;
    options_.damping = options.damping;
    options_.levels = options.scales;
  }

 protected:
  arch::CodeSpec spec(const arch::TensorId&, const formats::Shape& shape) const override {
    return billm_spec(shape[1], options_.block);
  }

  arch::CodeValues quantize(const MatrixTask& task) override {
    return billm(task.weights, task.out, task.in, inputs(), options_, task.stop).values;
  }

 private:
  BillmOptions options_;
};

}  // namespace

extern const Method method_billm = {
    .name = "billm",
    .summary = "signs in groups of each row and block, salient columns twice (two bits in all)",
    .bits = kBits,
    .calibrates = Calibrates::kAlways,
    .make = [](const arch::Checkpoint&, const MethodOptions& options, ThreadPool&)
        -> std::unique_ptr<Quantizer> { return std::make_unique<BillmQuantizer>(options); },
};

}  // namespace onebit::quant
