#include "kernels/sign_matrix.h"

namespace onebit::kernels {

SignMatrix::SignMatrix(const KernelSet& kernels, const formats::Sign1View& stored,
                       std::span<const float> h, std::int64_t group_size, ThreadPool* pool)
    : signs_{reinterpret_cast<const std::byte*>(stored.words), stored.rows, stored.cols},
      h_(h.data()),
      group_size_(group_size) {
  const SignLayout* layout = kernels.signs;
  if (layout == nullptr) return;
  signs_.data = signs_bytes_.reserve(layout->bytes(stored.rows, stored.cols));
  const auto pack = [&](std::int64_t begin, std::int64_t end, int) {
    layout->pack(stored, signs_bytes_.data(), begin, end);
  };
  if (pool == nullptr) {
    pack(0, stored.rows, 0);
  } else {
    pool->parallel_for(stored.rows, layout->panel_rows, pack);
  }
  if (group_size == 0) return;
  float* copy = h_copy_.reserve(layout->scales(stored.rows, stored.cols, group_size));
  layout->pack_scales(h.data(), stored.rows, stored.cols, group_size, copy);
  h_ = copy;
}

}  // namespace onebit::kernels
