#include "cuda/sign_layout.h"

#include <algorithm>
#include <cstddef>

namespace onebit::cuda {
namespace {

std::int64_t blocks(std::int64_t cols) noexcept { return kernels::QuantizedRows::blocks(cols); }

std::int64_t bytes(std::int64_t rows, std::int64_t cols) noexcept {
  return sign_panels(rows) * blocks(cols) * kLanes * static_cast<std::int64_t>(sizeof(LaneSigns));
}

/// Bit p of a nibble to the lowest bit of nibble p.
constexpr std::uint32_t spread(std::uint64_t nibble) noexcept {
  const auto n = static_cast<std::uint32_t>(nibble);
  return (n & 1U) | (n & 2U) << 3U | (n & 4U) << 6U | (n & 8U) << 9U;
}

/// Columns 64 k to 64 k + 63 of the 16 rows from `row` on, as lane 4 g + t has them.
std::uint32_t lane_word(const formats::Sign1View& s, std::int64_t row, std::int64_t k, int g,
                        int t) noexcept {
  std::uint32_t word = 0;
  if (k >= formats::sign1_row_words(s.cols)) return word;
  for (int i = 0; i < 2; ++i) {
    const std::int64_t r = row + g + 8 * i;
    if (r >= s.rows) continue;
    const std::uint64_t signs = s.row(r)[k] >> (4 * t);
    for (int quarter = 0; quarter < 4; ++quarter) {  // of 16 columns
      word |= spread(signs >> (16 * quarter) & 15U) << (quarter / 2 * 16 + quarter % 2 * 2 + i);
    }
  }
  return word;
}

void pack(const formats::Sign1View& s, std::byte* out, std::int64_t row_begin,
          std::int64_t row_end) noexcept {
  auto* lanes =
      reinterpret_cast<LaneSigns*>(out) + row_begin / kPanelRows * blocks(s.cols) * kLanes;
  for (std::int64_t row = row_begin; row < row_end; row += kPanelRows) {
    for (std::int64_t b = 0; b < blocks(s.cols); ++b) {
      for (int lane = 0; lane < kLanes; ++lane, ++lanes) {
        for (int w = 0; w < 4; ++w) {
          lanes->words[w] = lane_word(s, row + w / 2 * 16, 2 * b + w % 2, lane / 4, lane % 4);
        }
      }
    }
  }
}

std::int64_t scales(std::int64_t rows, std::int64_t cols, std::int64_t group_size) noexcept {
  return sign_panels(rows) * ((cols + group_size - 1) / group_size) * kPanelRows;
}

void pack_scales(const float* h, std::int64_t rows, std::int64_t cols, std::int64_t group_size,
                 float* out) noexcept {
  const std::int64_t groups = (cols + group_size - 1) / group_size;
  std::fill(out, out + scales(rows, cols, group_size), 0.0F);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* column = out + r / kPanelRows * groups * kPanelRows + r % kPanelRows;
    for (std::int64_t g = 0; g < groups; ++g) column[g * kPanelRows] = h[r * groups + g];
  }
}

}  // namespace

const kernels::SignLayout kSignLayout = {.panel_rows = kPanelRows,
                                         .bytes = bytes,
                                         .pack = pack,
                                         .scales = scales,
                                         .pack_scales = pack_scales};

}  // namespace onebit::cuda
