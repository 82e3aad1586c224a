// A row of log-probabilities in 16 bits each: as llama.cpp's --kl-divergence-base keeps them, and
// with more of their range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "eval/log_softmax.h"

namespace onebit::eval {

enum class RowKind : std::uint8_t {
  /// llama.cpp's: 16 nats from the likeliest token down, so that each log p is off by 1.3e-4 at
  /// most.
  /// What lies below them, or below e^-16, counts for nothing in its divergence, which is so too
  /// high
  /// by some 1e-3 of itself where the model gives those tokens more than the teacher does.
  kLlamaCpp,
  /// 64 nats, the row's own range in a real model: log p is off by 1/131070 of that range, 3e-4 for
  /// 40
  /// nats, and nothing is left out.
  kWhole,
};

/// Nats that a row spans at most.
constexpr float span_of(RowKind kind) noexcept {
  return kind == RowKind::kLlamaCpp ? 16.0F : 64.0F;
}

/// log p_i = scale · codes[i] + least, in nats, f32. A token further below the likeliest than the
/// kind's span has the code 0, and so the log-probability `least`, above its own.
struct LogProbRow {
  RowKind kind = RowKind::kWhole;
  float scale = 0;
  float least = 0;
  std::span<const std::uint16_t> codes;

  float log_prob(std::size_t i) const noexcept {
    return scale * static_cast<float>(codes[i]) + least;
  }
};

/// 16-bit words that a row takes: two for each of scale and least, the codes, a zero to make it
/// even.
constexpr std::size_t log_prob_row_words(std::int64_t vocab) noexcept {
  return 4 + (static_cast<std::size_t>(vocab) + 1) / 2 * 2;
}

/// Writes log_softmax(logits) to `row` of log_prob_row_words(logits.size()); `sums` is
/// log_sum_exp(logits), finite.
void encode_log_probs(std::span<const float> logits, const LogSumExp& sums, RowKind kind,
                      std::span<std::uint16_t> row) noexcept;

/// The row of `vocab` tokens that `words` holds; a view of them.
LogProbRow decode_log_probs(std::span<const std::uint16_t> words, std::int64_t vocab,
                            RowKind kind) noexcept;

/// Whether its greatest log-probability can be one: the likeliest of V tokens has between -ln V and
/// 0, up to the row's rounding, and -ln V where all are equal. Garbage rarely has; zeros have not.
bool plausible(const LogProbRow& row) noexcept;

}  // namespace onebit::eval
