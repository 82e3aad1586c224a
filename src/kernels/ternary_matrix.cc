#include "kernels/ternary_matrix.h"

#include <algorithm>

#include "base/check.h"

namespace onebit::kernels {
namespace {

/// Columns of S1 with its padding, where S2 begins.
std::int64_t padded(std::int64_t cols) noexcept { return TernaryMatrix::twice(cols) - cols; }

/// The rows of S1 and S2 side by side, as formats::Sign1View has them.
std::vector<std::uint64_t> pack(std::span<const std::int8_t> codes, std::int64_t rows,
                                std::int64_t cols, ThreadPool* pool) {
  ONEBIT_CHECK(static_cast<std::int64_t>(codes.size()) == rows * cols);
  const std::int64_t row_words = formats::sign1_row_words(TernaryMatrix::twice(cols));
  std::vector<std::uint64_t> words(static_cast<std::size_t>(rows * row_words));
  const auto fill = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int8_t* row = codes.data() + r * cols;
      std::uint64_t* s1 = words.data() + r * row_words;
      std::uint64_t* s2 = s1 + padded(cols) / 64;
      for (std::int64_t c = 0; c < cols; ++c) {
        s1[c / 64] |= static_cast<std::uint64_t>(row[c] < 0) << (c % 64);
        s2[c / 64] |= static_cast<std::uint64_t>(row[c] <= 0) << (c % 64);
      }
    }
  };
  if (pool == nullptr) {
    fill(0, rows, 0);
  } else {
    pool->parallel_for(rows, 1, fill);
  }
  return words;
}

}  // namespace

TernaryMatrix::TernaryMatrix(const KernelSet& kernels, std::span<const std::int8_t> codes,
                             std::int64_t rows, std::int64_t cols, std::span<const float> h,
                             ThreadPool* pool)
    : kernels_(kernels),
      cols_(cols),
      words_(pack(codes, rows, cols, pool)),
      signs_(kernels, {words_.data(), rows, twice(cols)}, {}, 0, pool),
      half_h_(static_cast<std::size_t>(rows), 0.5F) {
  ONEBIT_CHECK(h.empty() || static_cast<std::int64_t>(h.size()) == rows);
  for (std::size_t r = 0; r < h.size(); ++r) half_h_[r] = h[r] / 2;
  if (signs_.is_copy()) words_ = {};
}

void TernaryMatrix::repeat(const float* x, std::int64_t cols, std::int64_t tokens,
                           float* to) noexcept {
  for (std::int64_t t = 0; t < tokens; ++t, x += cols, to += twice(cols)) {
    std::copy_n(x, cols, to);
    std::fill(to + cols, to + padded(cols), 0.0F);
    std::copy_n(x, cols, to + padded(cols));
  }
}

void TernaryMatrix::repeat(const QuantizedRows& x, std::int64_t cols, std::int64_t tokens,
                           std::int8_t* q, float* scales) noexcept {
  const std::int64_t stride = QuantizedRows::stride(cols);
  const std::int64_t blocks = QuantizedRows::blocks(cols);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int8_t* from = x.q + t * stride;
    std::int8_t* to = q + t * QuantizedRows::stride(twice(cols));
    std::copy_n(from, stride, to);
    std::fill(to + stride, to + padded(cols), std::int8_t{0});
    std::copy_n(from, stride, to + padded(cols));
    std::copy_n(x.scales + t * blocks, blocks, scales + 2 * t * blocks);
    std::copy_n(x.scales + t * blocks, blocks, scales + (2 * t + 1) * blocks);
  }
}

void TernaryMatrix::gemm_f32(const float* x, std::int64_t tokens, float* y, std::int64_t ldy,
                             std::int64_t row_begin, std::int64_t row_end) const noexcept {
  kernels_.gemm_sign1_f32(signs_.signs(), half_h_.data(), x, tokens, y, ldy, row_begin, row_end);
}

void TernaryMatrix::gemm_i8(const QuantizedRows& x, std::int64_t tokens, float* y, std::int64_t ldy,
                            std::int64_t row_begin, std::int64_t row_end) const noexcept {
  kernels_.gemm_sign1_i8(signs_.signs(), half_h_.data(), x, tokens, y, ldy, row_begin, row_end);
}

}  // namespace onebit::kernels
