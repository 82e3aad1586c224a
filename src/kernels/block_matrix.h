// q8_0 or q4_0 weights as the int8 kernels of a set read them: in their layout, or where they are
// stored if they have none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "formats/dtype.h"
#include "kernels/kernels.h"

namespace onebit::kernels {

class BlockMatrix {
 public:
  static constexpr bool supports(formats::DType type) noexcept {
    return type == formats::DType::kQ8_0 || type == formats::DType::kQ4_0;
  }

  /// `stored`, [rows, cols / 32] blocks of a supported type and aligned for it, must outlive the
  /// object if the set reads it as it is: is_copy(). With a pool its threads share the copying.
  BlockMatrix(const KernelSet& kernels, formats::DType type, const std::byte* stored,
              std::int64_t rows, std::int64_t cols, ThreadPool* pool = nullptr);

  bool is_copy() const noexcept { return copy_.data() != nullptr; }
  const PackedBlocks& blocks() const noexcept { return blocks_; }
  /// What multiplies by it.
  BlockGemm gemm() const noexcept { return gemm_; }

 private:
  Buffer<std::byte> copy_;
  PackedBlocks blocks_;
  BlockGemm gemm_;
};

}  // namespace onebit::kernels
