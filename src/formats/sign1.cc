#include "formats/sign1.h"

#include <algorithm>

namespace onebit::formats {

void sign1_pack_row(std::span<const float> w, std::span<std::uint64_t> words) noexcept {
  std::fill(words.begin(), words.end(), 0);
  for (std::size_t c = 0; c < w.size(); ++c) {
    words[c / 64] |= static_cast<std::uint64_t>(w[c] < 0.0F) << (c % 64);
  }
}

void sign1_unpack_row(std::span<const std::uint64_t> words, std::span<float> s) noexcept {
  for (std::size_t c = 0; c < s.size(); ++c) {
    s[c] = ((words[c / 64] >> (c % 64)) & 1U) != 0 ? -1.0F : 1.0F;
  }
}

}  // namespace onebit::formats
