#include "kernels/block_matrix.h"

#include "base/check.h"

namespace onebit::kernels {

BlockMatrix::BlockMatrix(const KernelSet& kernels, formats::DType type, const std::byte* stored,
                         std::int64_t rows, std::int64_t cols, ThreadPool* pool)
    : blocks_{stored, rows, cols} {
  ONEBIT_CHECK(supports(type));
  const bool is_q8_0 = type == formats::DType::kQ8_0;
  gemm_ = is_q8_0 ? kernels.gemm_q8_0_i8 : kernels.gemm_q4_0_i8;
  const BlockLayout* layout = is_q8_0 ? kernels.q8_0 : kernels.q4_0;
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
