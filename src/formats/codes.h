// Codes: integers of 1 to 8 bits, packed: what matrices of more levels than two are stored as. The
// one stored layout on every CPU; kernels decode it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace onebit::formats {

/// The layout's name in packed files' metadata.
inline constexpr std::string_view kCodesLayout = "codes.v1";

inline constexpr int kMaxCodeBits = 8;

/// Eight codes are a whole number of bytes, and rows a whole number of 64-bit words.
constexpr std::int64_t codes_row_bytes(std::int64_t cols, int bits) noexcept {
  return ((cols + 7) / 8 * bits + 7) / 8 * 8;
}

/// Codes [rows, cols], each below 2^bits: a row is a little-endian stream of bits, code c its bits
/// c·bits … (c + 1)·bits - 1; padding bits are zero.
struct CodesView {
  const std::byte* data = nullptr;  ///< rows · codes_row_bytes(cols, bits)
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  int bits = 0;

  std::int64_t row_bytes() const noexcept { return codes_row_bytes(cols, bits); }
  const std::byte* row(std::int64_t r) const noexcept { return data + r * row_bytes(); }
};

/// row holds codes_row_bytes(codes.size(), bits).
void codes_pack_row(std::span<const std::uint8_t> codes, int bits,
                    std::span<std::byte> row) noexcept;

/// The codes from column `first` on.
void codes_unpack_row(std::span<const std::byte> row, std::int64_t first, int bits,
                      std::span<std::uint8_t> codes) noexcept;

}  // namespace onebit::formats
