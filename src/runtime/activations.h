// Inputs, keys and values as a packed model's arch::ActivationRule wants them: normed, rounded to a
// few bits. In f32, with every rounding step of its own: what training saw is what is computed.
#pragma once

#include <cstdint>

#include "arch/activation_rule.h"

namespace onebit::runtime {

/// How a row of numbers was rounded by Rounding::kAbsMax: to the whole multiples of `step` of at
/// most 2^(bits-1) - 1 times, 0 for zeros. NaN where it was not, or its values are not finite.
struct RoundedRow {
  float step;
};

/// x [n] to y [n], which may be x, with the rule's norm and rounding of inputs. All sums of the
/// norm are in f64. A row with values that are not finite gives such.
RoundedRow apply_rule(const arch::ActivationRule& rule, double norm_eps, const float* x,
                      std::int64_t n, float* y) noexcept;

/// x [n] rounded to `bits` in place.
void round_row(arch::Rounding rounding, int bits, float* x, std::int64_t n) noexcept;

}  // namespace onebit::runtime
