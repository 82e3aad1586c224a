// A text as ids, in windows of equal length: what measuring and calibrating read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace onebit::quant {

/// Whole windows of `window` tokens, one after the other.
struct TokenWindows {
  std::span<const text::TokenId> tokens;
  std::int64_t window = 0;

  std::int64_t count() const noexcept { return std::ssize(tokens) / window; }
};

/// `count` of the windows, at least which there are, drawn without repetition, in their order.
std::vector<text::TokenId> draw_windows(const TokenWindows& windows, std::int64_t count,
                                        std::uint64_t seed);

}  // namespace onebit::quant
