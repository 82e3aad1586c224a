// int8 as integer hardware has it (arXiv 1712.05877, section 2; the min-max observers of
// torch.ao.quantization): symmetric codes -127 … 127 with scale = max|w| / 127, or affine ones
// -128 … 127 with scale = (hi - lo) / 255 and a zero point; one scale for the whole matrix, a row,
// or a group of inputs. Extremes are first multiplied by `clip`: what lies beyond is limited.
// Stored codes and zero points are greater by 128.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "base/error.h"
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {8};
constexpr double kShift = 128;

class Int8Quantizer final : public CodeQuantizer {
 public:
  Int8Quantizer(const MethodOptions& options, ThreadPool& pool)
      : CodeQuantizer(options.scales), options_(options), pool_(pool) {}

 protected:
  arch::CodeSpec spec(const arch::TensorId&, const formats::Shape& shape) const override {
    arch::CodeSpec spec;
    spec.bits = 8;
    spec.groups = arch::group_count(shape[1], options_.group_size);
    if (options_.affine) spec.zero = formats::DType::kI8;
    return spec;
  }

  arch::CodeValues quantize(const MatrixTask& task) override {
    const Grid shared = options_.per_tensor ? fit(task.weights) : Grid{};
    return code_groups(
        task, options_.group_size, options_.affine, pool_,
        [&](std::span<const float> w) { return options_.per_tensor ? shared : fit(w); },
        [&](float w, const Grid& grid) { return code(w, grid); });
  }

 private:
  /// Scale and zero point, shifted.
  Grid fit(std::span<const float> w) const {
    double lo = 0;
    double hi = 0;
    for (const float v : w) {
      lo = std::min(lo, static_cast<double>(v));
      hi = std::max(hi, static_cast<double>(v));
    }
    if (!options_.affine) hi = std::max(hi, -lo);
    if (lo == hi) hi = 1;
    hi *= options_.clip;
    lo *= options_.clip;
    if (!options_.affine) return {stored_scale(hi / 127, options_.scales), kShift};
    const double scale = stored_scale((hi - lo) / 255, options_.scales);
    return {scale, std::clamp(std::nearbyint(-lo / scale), 0.0, 255.0)};
  }

  std::uint8_t code(float w, const Grid& grid) const {
    const double least = options_.affine ? 0 : 1;  // -128 is not used where it would be lopsided
    const double code = std::nearbyint(static_cast<double>(w) / grid.scale) + grid.zero;
    return static_cast<std::uint8_t>(std::clamp(code, least, 255.0));
  }

  MethodOptions options_;
  ThreadPool& pool_;
};

std::unique_ptr<Quantizer> make_int8(const arch::Checkpoint&, const MethodOptions& options,
                                     ThreadPool& pool) {
  if (options.per_tensor && options.group_size > 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--per-tensor: found groups of {} beside it, expected one of them",
                            options.group_size));
  }
  return std::make_unique<Int8Quantizer>(options, pool);
}

}  // namespace

extern const Method method_int8 = {
    .name = "int8",
    .summary = "8-bit integers, one scale a row (or matrix, or group of inputs)",
    .bits = kBits,
    .make = make_int8,
};

}  // namespace onebit::quant
