// Sign1: the packed form of S = sign(W), one bit a weight. The one stored layout on every CPU.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace onebit::formats {

/// Rows are padded with zero bits to whole 64-bit words.
inline constexpr std::int64_t kSignRowAlign = 8;

/// The layout's name in packed files' metadata.
inline constexpr std::string_view kSign1Layout = "sign1.v1";

constexpr std::int64_t sign1_row_words(std::int64_t cols) noexcept { return (cols + 63) / 64; }
constexpr std::int64_t sign1_row_bytes(std::int64_t cols) noexcept {
  return sign1_row_words(cols) * kSignRowAlign;
}

/// S in {-1,+1}, [rows, cols]: element (r, c) is bit c%64 of word r·row_words + c/64, 1 means -1.
/// Little-endian words; padding bits are zero.
struct Sign1View {
  const std::uint64_t* words = nullptr;  ///< rows · sign1_row_words(cols), 8-byte aligned
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  const std::uint64_t* row(std::int64_t r) const noexcept {
    return words + r * sign1_row_words(cols);
  }
};
static_assert(sizeof(Sign1View) == 24);

/// Packs one row: bit = (w < 0). sign(0) = sign(-0) = +1; a NaN packs as +1 (callers reject NaN).
/// words holds sign1_row_words(w.size()) entries.
void sign1_pack_row(std::span<const float> w, std::span<std::uint64_t> words) noexcept;

/// s[c] = -1 or +1.
void sign1_unpack_row(std::span<const std::uint64_t> words, std::span<float> s) noexcept;

}  // namespace onebit::formats
