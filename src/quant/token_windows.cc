#include "quant/token_windows.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"

namespace onebit::quant {

std::vector<text::TokenId> draw_windows(const TokenWindows& windows, std::int64_t count,
                                        std::uint64_t seed) {
  ONEBIT_CHECK(count <= windows.count());
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(windows.count()));
  std::iota(chosen.begin(), chosen.end(), 0);
  Rng rng(seed);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    std::swap(chosen[i], chosen[i + rng.below(chosen.size() - i)]);
  }
  chosen.resize(static_cast<std::size_t>(count));
  std::sort(chosen.begin(), chosen.end());
  std::vector<text::TokenId> tokens;
  tokens.reserve(static_cast<std::size_t>(count * windows.window));
  for (const std::int64_t window : chosen) {
    const auto from = windows.tokens.begin() + window * windows.window;
    tokens.insert(tokens.end(), from, from + windows.window);
  }
  return tokens;
}

}  // namespace onebit::quant
