// Uniform grids of integers, as GPTQ's quantiser defines them (arXiv 2210.17323; quant.py of
// github.com/IST-DASLab/gptq), for the methods that round to them.
//
//   ŵ = scale · (code - zero),  code = clamp(round(w / scale) + zero, 0, 2^bits - 1),
//
// round to nearest, ties to even. With lo = min(0, min w), hi = max(0, max w), n = 2^bits - 1:
//   asymmetric   scale = (hi - lo) / n, zero = round(-lo / scale) within 0 … n
//   symmetric    scale = 2 max|w| / n, zero = 2^(bits - 1)
//   symmetric, 1 bit: scale = 2 mean|w|, zero = 1/2, code = (w >= 0): the levels ± mean|w|, best of
//                all symmetric ones; the formula above would give zeros alone
// A group of zeros has hi = 1, but for the last where its scale is 0. Unlike quant.py, symmetric
// grids are symmetric also where no weight is negative.
#pragma once

#include <cstdint>
#include <span>

#include "formats/dtype.h"

namespace onebit::quant {

struct GridOptions {
  int bits = 4;  ///< 1 to 8
  bool symmetric = false;
  /// The scale is rounded to this type (f16, f32; f64 in tests) before zero and codes follow from
  /// it; what would become 0 or infinite there is the smallest or largest number of the type
  /// (CodeQuantizer refuses the latter).
  formats::DType scales = formats::DType::kF16;
};

struct Grid {
  double scale = 0;
  double zero = 0;
};

/// The nearest scale that the type holds, as GridOptions says; 0 stays 0.
double stored_scale(double scale, formats::DType type) noexcept;

/// The grid of a group of weights that are finite.
Grid fit_grid(std::span<const double> w, const GridOptions& options) noexcept;
Grid fit_grid(std::span<const float> w, const GridOptions& options) noexcept;

std::uint8_t encode(double w, const Grid& grid, const GridOptions& options) noexcept;

constexpr double decode(std::uint8_t code, const Grid& grid) noexcept {
  return grid.scale * (code - grid.zero);
}

}  // namespace onebit::quant
