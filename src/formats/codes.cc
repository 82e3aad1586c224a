#include "formats/codes.h"

#include <algorithm>

namespace onebit::formats {

void codes_pack_row(std::span<const std::uint8_t> codes, int bits,
                    std::span<std::byte> row) noexcept {
  std::fill(row.begin(), row.end(), std::byte{0});
  std::size_t bit = 0;
  for (const std::uint8_t code : codes) {
    const unsigned placed = static_cast<unsigned>(code) << (bit % 8);
    row[bit / 8] |= static_cast<std::byte>(placed & 0xFFU);
    if (placed > 0xFFU) row[bit / 8 + 1] |= static_cast<std::byte>(placed >> 8);
    bit += static_cast<std::size_t>(bits);
  }
}

void codes_unpack_row(std::span<const std::byte> row, std::int64_t first, int bits,
                      std::span<std::uint8_t> codes) noexcept {
  const unsigned mask = (1U << bits) - 1U;
  std::size_t bit = static_cast<std::size_t>(first) * static_cast<std::size_t>(bits);
  for (std::uint8_t& code : codes) {
    unsigned word = static_cast<unsigned>(row[bit / 8]);
    if (bit % 8 + static_cast<std::size_t>(bits) > 8) {
      word |= static_cast<unsigned>(row[bit / 8 + 1]) << 8;
    }
    code = static_cast<std::uint8_t>(word >> (bit % 8) & mask);
    bit += static_cast<std::size_t>(bits);
  }
}

}  // namespace onebit::formats
