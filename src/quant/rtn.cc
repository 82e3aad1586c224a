// Rounding to nearest: every weight by itself to the grid of its row or group of inputs.
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {4, 1, 2, 3, 5, 6, 7, 8};

class RtnQuantizer final : public CodeQuantizer {
 public:
  RtnQuantizer(const MethodOptions& options, ThreadPool& pool)
      : CodeQuantizer(options.scales),
        grid_{options.bits, options.symmetric, options.scales},
        group_size_(options.group_size),
        pool_(pool) {}

 protected:
  arch::CodeSpec spec(const arch::TensorId&, const formats::Shape& shape) const override {
    arch::CodeSpec spec;
    spec.bits = grid_.bits;
    spec.groups = arch::group_count(shape[1], group_size_);
    if (!grid_.symmetric) spec.zero = formats::DType::kI8;
    return spec;
  }

  arch::CodeValues quantize(const MatrixTask& task) override {
    return code_groups(
        task, group_size_, !grid_.symmetric, pool_,
        [&](std::span<const float> w) { return fit_grid(w, grid_); },
        [&](float w, const Grid& grid) { return encode(w, grid, grid_); });
  }

 private:
  GridOptions grid_;
  std::int64_t group_size_;
  ThreadPool& pool_;
};

std::unique_ptr<Quantizer> make_rtn(const arch::Checkpoint&, const MethodOptions& options,
                                    ThreadPool& pool) {
  return std::make_unique<RtnQuantizer>(options, pool);
}

}  // namespace

extern const Method method_rtn = {
    .name = "rtn",
    .summary =
        "each weight to the nearest of 2^bits evenly spaced levels between its group's extremes",
    .bits = kBits,
    .make = make_rtn,
};

}  // namespace onebit::quant
