// Learning rate by step: linear warm-up, then cosine (the reference implementation's), linear or no
// decay. The formulas are those of transformers' schedulers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/words.h"

namespace onebit::distill {

enum class Decay : std::uint8_t { kCosine, kLinear, kConstant };

struct Schedule {
  double peak = 1e-4;
  std::int64_t warmup = 0;  ///< steps; step 0 of a warm-up has rate 0
  std::int64_t total = 1;   ///< steps of the whole run
  Decay decay = Decay::kCosine;

  /// Rate of step 0 … total-1; 0 beyond for the decaying ones.
  double at(std::int64_t step) const {
    if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
    if (decay == Decay::kConstant) return peak;
    const double progress =
        std::min(1.0, static_cast<double>(step - warmup) /
                          static_cast<double>(std::max<std::int64_t>(1, total - warmup)));
    if (decay == Decay::kLinear) return peak * (1.0 - progress);
    return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  }
};

}  // namespace onebit::distill

namespace onebit {

template <>
struct Words<distill::Decay> {
  static constexpr Word<distill::Decay> kAll[] = {{distill::Decay::kCosine, "cosine"},
                                                  {distill::Decay::kLinear, "linear"},
                                                  {distill::Decay::kConstant, "constant"}};
};

}  // namespace onebit
