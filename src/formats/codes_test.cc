#include "formats/codes.h"

#include <gtest/gtest.h>
#include <vector>

#include "base/rng.h"

namespace onebit::formats {
namespace {

std::vector<std::uint8_t> random_codes(std::int64_t count, int bits, Rng& rng) {
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
  for (std::uint8_t& code : codes) {
    code = static_cast<std::uint8_t>(rng.below(std::uint64_t{1} << bits));
  }
  return codes;
}

/// The layout's definition, bit by bit.
bool bit_of(const std::vector<std::byte>& row, std::size_t bit) {
  return (static_cast<unsigned>(row[bit / 8]) >> (bit % 8) & 1U) != 0;
}

TEST(Codes, RowsAreTheStreamThatTheLayoutSays) {
  Rng rng(1);
  for (int bits = 1; bits <= kMaxCodeBits; ++bits) {
    for (const std::int64_t cols : {1, 2, 7, 8, 9, 36, 63, 64, 65, 576}) {
      const std::vector<std::uint8_t> codes = random_codes(cols, bits, rng);
      std::vector<std::byte> row(static_cast<std::size_t>(codes_row_bytes(cols, bits)),
                                 std::byte{0xFF});
      codes_pack_row(codes, bits, row);
      std::size_t bit = 0;
      for (const std::uint8_t code : codes) {
        for (int i = 0; i < bits; ++i) EXPECT_EQ(bit_of(row, bit++), (code >> i & 1) != 0);
      }
      while (bit < row.size() * 8) EXPECT_FALSE(bit_of(row, bit++)) << "padding";
      std::vector<std::uint8_t> back(codes.size(), 0xAA);
      codes_unpack_row(row, 0, bits, back);
      EXPECT_EQ(back, codes) << bits << " bits, " << cols << " columns";
      std::uint8_t last = 0;
      codes_unpack_row(row, cols - 1, bits, {&last, 1});
      EXPECT_EQ(last, codes.back());
    }
  }
}

TEST(Codes, RowsAreWholeWords) {
  EXPECT_EQ(codes_row_bytes(64, 1), 8);
  EXPECT_EQ(codes_row_bytes(65, 1), 16);
  EXPECT_EQ(codes_row_bytes(64, 3), 24);
  EXPECT_EQ(codes_row_bytes(36, 3), 16);  // 15 bytes of codes
  EXPECT_EQ(codes_row_bytes(576, 8), 576);
}

}  // namespace
}  // namespace onebit::formats
