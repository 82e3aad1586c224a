// A row of log-probabilities in 16 bits each, as llama.cpp's --kl-divergence-base keeps them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "eval/log_softmax.h"

namespace onebit::eval {

/// log p_i = scale · codes[i] + least, in nats, f32. A token that is more than 16 nats below the
/// likeliest has the code 0 and so the log-probability `least`, above its own: whoever sums over
/// the row leaves out what is not above kLeastLogProb.
///
/// Where 16 nats are spanned, as in any real model's rows, scale is 16 / 65535: log p_i is off by
/// 1.3e-4 at most, 1.2e-4 of them half a step.
struct LogProbRow {
  float scale = 0;
  float least = 0;
  std::span<const std::uint16_t> codes;

  float log_prob(std::size_t i) const noexcept {
    return scale * static_cast<float>(codes[i]) + least;
  }
};

/// llama.cpp's bound: what is not above it, among it all that lies beyond the 16 nats, is left out.
inline constexpr float kLeastLogProb = -16.0F;

/// 16-bit words that a row takes: two for each of scale and least, the codes, a zero to make it
/// even.
constexpr std::size_t log_prob_row_words(std::int64_t vocab) noexcept {
  return 4 + (static_cast<std::size_t>(vocab) + 1) / 2 * 2;
}

/// Writes log_softmax(logits) to `row` of log_prob_row_words(logits.size()); `sums` is
/// log_sum_exp(logits), finite.
void encode_log_probs(std::span<const float> logits, const LogSumExp& sums,
                      std::span<std::uint16_t> row) noexcept;

/// The row of `vocab` tokens that `words` holds; a view of them.
LogProbRow decode_log_probs(std::span<const std::uint16_t> words, std::int64_t vocab) noexcept;

/// Whether its greatest log-probability can be one: the likeliest of V tokens has between -ln V and
/// 0, up to the row's rounding, and -ln V where all are equal. Garbage rarely has; zeros have not.
bool plausible(const LogProbRow& row) noexcept;

}  // namespace onebit::eval
