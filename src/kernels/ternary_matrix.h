// Ternary weights by the kernels of 1-bit ones: T in {-1,0,+1} is (S1 + S2) / 2 with two sign
// matrices, which agree where T is not zero. Both are one 1-bit matrix with a row of S1 beside the
// same row of S2, multiplied by activations that are given twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "kernels/sign_matrix.h"

namespace onebit::kernels {

class TernaryMatrix {
 public:
  /// W[r, c] = h[r] T[r, c] with T[r, c] the sign of codes[r, c], [rows, cols]; h [rows], or empty
  /// for ones. With a pool its threads share the packing.
  TernaryMatrix(const KernelSet& kernels, std::span<const std::int8_t> codes, std::int64_t rows,
                std::int64_t cols, std::span<const float> h, ThreadPool* pool = nullptr);

  std::int64_t rows() const noexcept { return signs_.signs().rows; }
  std::int64_t cols() const noexcept { return cols_; }
  /// Signs and scales.
  std::uint64_t stored_bytes() const noexcept {
    return static_cast<std::uint64_t>(rows()) *
           (static_cast<std::uint64_t>(formats::sign1_row_bytes(twice(cols_))) + sizeof(float));
  }

  /// Columns of activations given twice: S1's are padded so that S2's begin with a block of
  /// activations.
  static constexpr std::int64_t twice(std::int64_t cols) noexcept {
    return QuantizedRows::blocks(cols) * kActivationBlock + cols;
  }

  /// x [tokens, cols] to `to` [tokens, twice(cols)].
  static void repeat(const float* x, std::int64_t cols, std::int64_t tokens, float* to) noexcept;
  /// The same of int8 activations, to what QuantizedRows says of twice(cols) columns: q is [tokens,
  /// QuantizedRows::stride(twice(cols))], scales [tokens, 2 · QuantizedRows::blocks(cols)].
  static void repeat(const QuantizedRows& x, std::int64_t cols, std::int64_t tokens, std::int8_t* q,
                     float* scales) noexcept;

  /// y[t, r] = Σ_c W[r, c] x[t, c] of activations given twice, for rows [row_begin, row_end); y is
  /// [T, ldy]. |err| <= |h| · twice(in) · 2^-23 · Σ|x|, zero weights included.
  void gemm_f32(const float* x, std::int64_t tokens, float* y, std::int64_t ldy,
                std::int64_t row_begin, std::int64_t row_end) const noexcept;

  /// The same over int8 activations, equal on every ISA, bit for bit: with d[i, b] = Σ Si[r, c]
  /// q[t, c] of the columns of block b, an exact integer, a = fma(d[i, b], scale[t, b], a) in f32
  /// from a = 0 on in the order of the blocks, first all of S1, then all of S2, and y[t, r] = a ·
  /// (h[r] / 2).
  void gemm_i8(const QuantizedRows& x, std::int64_t tokens, float* y, std::int64_t ldy,
               std::int64_t row_begin, std::int64_t row_end) const noexcept;

 private:
  const KernelSet& kernels_;
  std::int64_t cols_;
  std::vector<std::uint64_t> words_;  ///< empty where signs_ is a copy of them
  SignMatrix signs_;
  std::vector<float> half_h_;
};

}  // namespace onebit::kernels
