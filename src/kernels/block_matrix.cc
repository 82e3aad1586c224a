#include "kernels/block_matrix.h"

namespace onebit::kernels {

BlockMatrix::BlockMatrix(const KernelSet& kernels, const formats::BlockQ8_0* stored,
                         std::int64_t rows, std::int64_t cols, ThreadPool* pool)
    : blocks_{reinterpret_cast<const std::byte*>(stored), rows, cols} {
  const BlockLayout* layout = kernels.q8_0;
  if (layout == nullptr) return;
  blocks_.data = copy_.reserve(layout->bytes(rows, cols));
  const auto pack = [&](std::int64_t begin, std::int64_t end, int) {
    layout->pack(stored, rows, cols, copy_.data(), begin, end);
  };
  if (pool == nullptr) {
    pack(0, rows, 0);
  } else {
    pool->parallel_for(rows, layout->panel_rows, pack);
  }
}

}  // namespace onebit::kernels
