// q8_0 weights as the int8 kernels of a set read them: in their layout, or where they are stored if
// they have none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace onebit::kernels {

class BlockMatrix {
 public:
  /// `stored`, [rows, cols / 32] and aligned for its type, must outlive the object if the set reads
  /// it as it is: is_copy(). With a pool its threads share the copying.
  BlockMatrix(const KernelSet& kernels, const formats::BlockQ8_0* stored, std::int64_t rows,
              std::int64_t cols, ThreadPool* pool = nullptr);

  bool is_copy() const noexcept { return copy_.data() != nullptr; }
  const PackedBlocks& blocks() const noexcept { return blocks_; }

 private:
  Buffer<std::byte> copy_;
  PackedBlocks blocks_;
};

}  // namespace onebit::kernels
