// The order of signs against the tensor cores' documented registers, without a GPU: packed signs
// are expanded, multiplied as the PTX ISA says that mma multiplies what lanes hold, and compared
// with the matrix.
#include "cuda/sign_layout.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "kernels/test_data.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;
using kernels::random_floats;
using kernels::RandomSigns;

/// prmt.b32 in its default mode: nibble i of the selector chooses byte i of the result among the
/// eight of {high, low}; its top bit replaces the byte by copies of its sign.
std::uint32_t prmt(std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
  const std::uint64_t bytes = std::uint64_t{high} << 32 | low;
  std::uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t nibble = selector >> (4 * i) & 15U;
    std::uint32_t byte = bytes >> (8 * (nibble & 7U)) & 0xFFU;
    if ((nibble & 8U) != 0) byte = byte >= 0x80U ? 0xFFU : 0;
    result |= byte << (8 * i);
  }
  return result;
}

std::int8_t byte_of(std::uint32_t reg, int i) { return static_cast<std::int8_t>(reg >> (8 * i)); }

/// The left operand [16, 32] out of every lane's four registers: element i of a lane has row group
/// for i < 4 and 8 <= i < 12, else group + 8; column 4 (lane % 4) + i % 4, 16 more for i >= 8.
using Operand = std::array<std::array<std::int8_t, 32>, 16>;
Operand left_operand(const std::array<std::array<std::uint32_t, 4>, 32>& regs) {
  Operand a = {};
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const int row = i < 4 || (i >= 8 && i < 12) ? lane / 4 : lane / 4 + 8;
      const int col = lane % 4 * 4 + i % 4 + (i >= 8 ? 16 : 0);
      a[static_cast<std::size_t>(row)][static_cast<std::size_t>(col)] =
          byte_of(regs[static_cast<std::size_t>(lane)][static_cast<std::size_t>(i / 4)], i % 4);
    }
  }
  return a;
}

std::vector<LaneSigns> pack(const RandomSigns& s) {
  std::vector<LaneSigns> packed(
      static_cast<std::size_t>(kSignLayout.bytes(s.view.rows, s.view.cols)) / sizeof(LaneSigns));
  auto* bytes = reinterpret_cast<std::byte*>(packed.data());
  std::memset(bytes, 0xEE, packed.size() * sizeof(LaneSigns));
  const std::int64_t middle = (s.view.rows + 1) / 2 / kPanelRows * kPanelRows;
  kSignLayout.pack(s.view, bytes, 0, middle);
  kSignLayout.pack(s.view, bytes, middle, s.view.rows);
  return packed;
}

TEST(SignLayout, EverySignHasItsPlaceAndThePaddingIsClear) {
  Rng rng(31);
  for (const auto& [rows, cols] :
       {std::pair{1, 1}, {33, 65}, {32, 128}, {70, 129}, {64, 300}, {5, 576}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << cols);
    const RandomSigns s(rng, rows, cols);
    const std::vector<LaneSigns> packed = pack(s);
    const std::int64_t blocks = QuantizedRows::blocks(cols);
    for (std::int64_t r = 0; r < sign_panels(rows) * kPanelRows; ++r) {
      for (std::int64_t c = 0; c < blocks * kBlockCols; ++c) {
        const SignPlace place =
            sign_place(static_cast<int>(r % kPanelRows), static_cast<int>(c % kBlockCols));
        const LaneSigns& lane = packed[static_cast<std::size_t>(
            (r / kPanelRows * blocks + c / kBlockCols) * kLanes + place.lane)];
        const bool negative = (lane.words[place.word] >> place.bit & 1U) != 0;
        ASSERT_EQ(negative, r < rows && c < cols && s.at(r, c) < 0) << r << ", " << c;
      }
    }
  }
}

TEST(SignLayout, ExpandedSignsAreTheTensorCoresOperand) {
  Rng rng(32);
  const RandomSigns s(rng, kPanelRows, kBlockCols);
  const std::vector<LaneSigns> packed = pack(s);
  for (int m = 0; m < 2; ++m) {
    for (int i = 0; i < 4; ++i) {  // 32 columns
      std::array<std::array<std::uint32_t, 4>, 32> regs = {};
      for (std::size_t lane = 0; lane < 32; ++lane) {
        std::uint32_t expanded[8];
        expand_signs(packed[lane].words[2 * m + i / 2], expanded, prmt);
        for (std::size_t j = 0; j < 4; ++j) {
          regs[lane][j] = expanded[static_cast<std::size_t>(i % 2) * 4 + j];
        }
      }
      const Operand a = left_operand(regs);
      for (int r = 0; r < 16; ++r) {
        for (int c = 0; c < 32; ++c) {
          ASSERT_EQ(a[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)],
                    s.at(16 * m + r, 32 * i + c))
              << "rows from " << 16 * m << ", columns from " << 32 * i << ": " << r << ", " << c;
        }
      }
    }
  }
}

TEST(SignLayout, ScalesOfGroupsLieByPanelsOfRows) {
  Rng rng(33);
  const std::int64_t rows = 45;
  const std::int64_t cols = 100;
  const std::int64_t groups = 7;
  const std::vector<float> h = random_floats(rng, rows * groups);
  std::vector<float> packed(static_cast<std::size_t>(kSignLayout.scales(rows, cols, 16)), -1.0F);
  ASSERT_EQ(packed.size(), 2U * groups * kPanelRows);
  kSignLayout.pack_scales(h.data(), rows, cols, 16, packed.data());
  for (std::int64_t r = 0; r < 64; ++r) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t i = (r / kPanelRows * groups + g) * kPanelRows + r % kPanelRows;
      EXPECT_EQ(packed[static_cast<std::size_t>(i)],
                r < rows ? h[static_cast<std::size_t>(r * groups + g)] : 0.0F);
    }
  }
}

TEST(SignLayout, BiasedSumsAreFloatsAlready) {
  for (std::int32_t sum = -128 * 128; sum <= 128 * 128; ++sum) {
    const std::int32_t biased = kFloatBias + sum;
    float f = 0;
    std::memcpy(&f, &biased, sizeof(f));
    ASSERT_EQ(f - kFloatBiasValue, static_cast<float>(sum));
  }
}

}  // namespace
}  // namespace onebit::cuda
