#include "quant/grid.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/half.h"

namespace onebit::quant {

double stored_scale(double scale, formats::DType type) noexcept {
  if (type == formats::DType::kF64 || scale == 0) return scale;
  if (type != formats::DType::kF16) {
    return static_cast<float>(
        std::clamp(scale, static_cast<double>(std::numeric_limits<float>::denorm_min()),
                   static_cast<double>(std::numeric_limits<float>::max())));
  }
  constexpr double kSmallest = 0x1p-24;
  constexpr double kLargest = 65504;
  const auto within = static_cast<float>(std::clamp(scale, kSmallest, kLargest));
  return f16_to_f32(f32_to_f16(within));
}

namespace {

template <class T>
Grid fit(std::span<const T> w, const GridOptions& options) noexcept {
  const double most = (1 << options.bits) - 1;
  if (options.symmetric && options.bits == 1) {
    double sum = 0;
    for (const T v : w) sum += std::abs(static_cast<double>(v));
    return {stored_scale(2 * sum / static_cast<double>(w.size()), options.scales), 0.5};
  }
  double lo = 0;
  double hi = 0;
  for (const T v : w) {
    lo = std::min(lo, static_cast<double>(v));
    hi = std::max(hi, static_cast<double>(v));
  }
  if (options.symmetric) {
    hi = std::max(hi, -lo);
    lo = -hi;
  }
  if (hi == lo) {
    hi = 1;
    lo = options.symmetric ? -1 : 0;
  }
  const double scale = stored_scale((hi - lo) / most, options.scales);
  if (options.symmetric) return {scale, static_cast<double>(1 << (options.bits - 1))};
  return {scale, std::clamp(std::nearbyint(-lo / scale), 0.0, most)};
}

}  // namespace

Grid fit_grid(std::span<const double> w, const GridOptions& options) noexcept {
  return fit(w, options);
}

Grid fit_grid(std::span<const float> w, const GridOptions& options) noexcept {
  return fit(w, options);
}

std::uint8_t encode(double w, const Grid& grid, const GridOptions& options) noexcept {
  if (options.symmetric && options.bits == 1) return w >= 0 ? 1 : 0;
  const double code = std::nearbyint(w / grid.scale) + grid.zero;
  return static_cast<std::uint8_t>(
      std::clamp(code, 0.0, static_cast<double>((1 << options.bits) - 1)));
}

}  // namespace onebit::quant
