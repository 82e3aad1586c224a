// S in the order in which the GPU kernels multiply it, and the arithmetic on that order that needs
// no GPU to be tested.
//
// Both kernels feed signs to the tensor cores' mma.m16n8k32 as int8 ±1. Its left operand, 16 rows ×
// 32 columns, lies in registers (PTX ISA, "Matrix Fragments for mma.m16n8k32"): lane 4 g + t of a
// warp has in byte p of register i the row g + 8 (i % 2) and the column 16 (i / 2) + 4 t + p. So S
// is stored as what each lane needs of 32 rows (a panel: two such operands) and 128 columns (a
// block of activations: four of them), 16 bytes, and a warp loads a panel's block as 512 bytes in a
// row.
//
// One sign becomes one byte by prmt.b32, which chooses each byte of its result from eight by the
// low three bits of a nibble: with a table of ±1 in which only bit j of the index matters, the
// signs in bits j of four nibbles are four bytes. Three registers of an operand come from one
// 16-bit half-word as it is, the fourth (in the nibbles' top bits, which prmt would take for
// another mode) from a shift.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace onebit::cuda {

inline constexpr int kLanes = 32;
inline constexpr int kPanelRows = 32;
inline constexpr int kBlockCols = static_cast<int>(kernels::kActivationBlock);

constexpr std::int64_t sign_panels(std::int64_t rows) noexcept {
  return (rows + kPanelRows - 1) / kPanelRows;
}

/// What one lane has of a panel's block: words[2 m + k] are the operand registers of rows 16 m to
/// 16 m + 15 and columns 64 k to 64 k + 63, a half-word for each 32 columns. A set bit is -1; rows
/// and columns beyond S have clear ones. The lanes of a block follow one another, the blocks of a
/// panel, the panels.
struct alignas(16) LaneSigns {
  std::uint32_t words[4];
};

struct SignPlace {
  int lane;
  int word;
  int bit;
};

/// Where the sign of a row of a panel and a column of a block lies.
constexpr SignPlace sign_place(int row, int col) noexcept {
  const int reg = row / 8 % 2 + 2 * (col / 16 % 2);
  return {.lane = row % 8 * 4 + col % 16 / 4,
          .word = row / 16 * 2 + col / 64,
          .bit = col / 32 % 2 * 16 + col % 4 * 4 + reg};
}

/// The eight operand registers of a word, ±1 in each byte: those of its first 32 columns, then
/// those of the others. permute(low, high, selector) is prmt.b32.
template <class Permute>
constexpr void expand_signs(std::uint32_t word, std::uint32_t (&regs)[8],
                            const Permute& permute) noexcept {
  const std::uint32_t low_bits = word & 0x77777777U;
  const std::uint32_t top_bits = word >> 3 & 0x11111111U;
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t selector = low_bits >> (16 * half);
    regs[4 * half] = permute(0xFF01FF01U, 0xFF01FF01U, selector);
    regs[4 * half + 1] = permute(0xFFFF0101U, 0xFFFF0101U, selector);
    regs[4 * half + 2] = permute(0x01010101U, 0xFFFFFFFFU, selector);
    regs[4 * half + 3] = permute(0xFF01FF01U, 0xFF01FF01U, top_bits >> (16 * half));
  }
}

/// Sums of int8 products start from this, and are floats then without a conversion: the bits of
/// 1.5 · 2^23, whose unit in the last place is 1 as far as 2^22 to either side.
inline constexpr std::int32_t kFloatBias = 0x4B400000;
inline constexpr float kFloatBiasValue = 0x1.8p23F;

/// The layout for kernels::SignLayout's uses: h [rows, groups] becomes [panels, groups, panel
/// rows], zero beyond the last row.
extern const kernels::SignLayout kSignLayout;

}  // namespace onebit::cuda
