// What a row of logits says at once: the normaliser of its softmax, its likeliest token, whether it
// is sound. Everything that turns logits into log-probabilities goes through here.
#pragma once

#include <cstddef>
#include <span>

namespace onebit::eval {

struct LogSumExp {
  double value = 0;     ///< ln Σ_i e^(z_i); log softmax(z)_i = z_i - value, in nats
  std::size_t top = 0;  ///< argmax z, the lowest of equals
  bool finite = true;   ///< all z are; if not, the two above mean nothing
};

/// `logits` holds V >= 1 values. |value - exact| <= (2 + ln V) 2^-24 (7.7e-7 of 49,152 tokens): e^x
/// has a relative error of 2^-23 (vector_exp.h), the rounding of z_i - max z one of |z_i - max z|
/// 2^-24, whose mean under softmax is at most ln V 2^-24; sums are in double, in an order that
/// depends on V alone.
LogSumExp log_sum_exp(std::span<const float> logits) noexcept;

}  // namespace onebit::eval
