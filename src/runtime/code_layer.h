// A linear layer stored as integer codes: a few rows at a time are decoded to f32, which the dense
// kernel then multiplies; of one token in registers, where the CPU has a kernel for that. What
// weights take of the memory stays what it is in the file, and activations stay exact.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arch/code_matrix.h"
#include "kernels/kernels.h"

namespace onebit::runtime {

class CodeLayer {
 public:
  /// `ruled`: the model's ActivationRule is for its inputs.
  CodeLayer(arch::CodeMatrix matrix, bool ruled);

  bool ruled() const noexcept { return ruled_; }

  std::int64_t out() const noexcept { return matrix_.codes.rows; }
  std::int64_t in() const noexcept { return matrix_.codes.cols; }
  std::uint64_t stored_bytes() const noexcept;

  /// Whether inputs must be arranged() before they are multiplied.
  bool arranges() const noexcept { return !matrix_.order.empty() || !matrix_.in_scale.empty(); }

  /// One token's x [in] to the order of the stored columns, scaled.
  void arrange(const float* x, float* to) const noexcept;

  /// Floats that multiply() works with: some 256 KiB, for the second-level cache, of whole tiles of
  /// the dense kernels.
  std::int64_t scratch() const noexcept { return tile_rows() * in() + kernels::kDecodeRoom; }

  /// y[t, r] = Σ_c W[r, c] x[t, c] for rows [begin, end); x [tokens, in] arranged, y [tokens, out],
  /// `decoded` scratch() floats. With the bound of DenseGemm.
  void multiply(const kernels::KernelSet& kernels, const float* x, std::int64_t tokens, float* y,
                std::int64_t begin, std::int64_t end, float* decoded) const noexcept;

 private:
  std::int64_t tile_rows() const noexcept {
    return std::clamp((std::int64_t{1} << 16) / in() / 8 * 8, std::int64_t{8}, std::int64_t{64});
  }

  bool ruled_;
  arch::CodeMatrix matrix_;          ///< in_scale is of inputs alone: that of products is below
  std::vector<float> column_scale_;  ///< of products [2, in], in the order of the stored columns
  std::vector<float> signs_;         ///< kernels::CodedProducts::signs
};

}  // namespace onebit::runtime
