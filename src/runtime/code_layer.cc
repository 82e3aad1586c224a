#include "runtime/code_layer.h"

#include <utility>

namespace onebit::runtime {

CodeLayer::CodeLayer(arch::CodeMatrix matrix, bool ruled)
    : ruled_(ruled), matrix_(std::move(matrix)) {
  if (!matrix_.products()) return;
  const auto columns = static_cast<std::size_t>(in());
  const std::vector<float> by_input = std::exchange(matrix_.in_scale, {});
  for (const std::size_t term : {std::size_t{0}, std::size_t{1}}) {
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t input =
          matrix_.order.empty() ? c : static_cast<std::size_t>(matrix_.order[c]);
      column_scale_.push_back(by_input[term * columns + input]);
    }
  }
  for (const arch::ProductKind kind : matrix_.kinds) {
    for (const std::size_t term : {std::size_t{0}, std::size_t{1}}) {
      for (unsigned code = 0; code < 4; ++code) {
        signs_.push_back(arch::product_signs(kind, code)[term]);
      }
    }
  }
}

std::uint64_t CodeLayer::stored_bytes() const noexcept {
  const arch::CodeMatrix& m = matrix_;
  return static_cast<std::uint64_t>(m.codes.rows * m.codes.row_bytes()) +
         (m.scale.size() + m.zero.size() + m.levels.size() + m.row_scale.size() +
          m.in_scale.size() + column_scale_.size() + signs_.size()) *
             sizeof(float) +
         m.kinds.size() + (m.order.size() + m.ends.size()) * sizeof(std::int32_t);
}

void CodeLayer::arrange(const float* x, float* to) const noexcept {
  const auto input = [&](std::int64_t c) {
    return matrix_.order.empty() ? c : std::int64_t{matrix_.order[static_cast<std::size_t>(c)]};
  };
  for (std::int64_t c = 0; c < in(); ++c) {
    const std::int64_t i = input(c);
    to[c] = matrix_.in_scale.empty() ? x[i] : x[i] * matrix_.in_scale[static_cast<std::size_t>(i)];
  }
}

void CodeLayer::multiply(const kernels::KernelSet& kernels, const float* x, std::int64_t tokens,
                         float* y, std::int64_t begin, std::int64_t end,
                         float* decoded) const noexcept {
  const kernels::CodedProducts products = {signs_.data(), matrix_.row_scale.data(),
                                           column_scale_.data()};
  const kernels::CodedRows rows = {matrix_.codes,
                                   matrix_.ends.data(),
                                   matrix_.groups(),
                                   matrix_.scale.data(),
                                   matrix_.zero.data(),
                                   matrix_.levels.empty() ? nullptr : matrix_.levels.data(),
                                   matrix_.products() ? &products : nullptr};
  if (tokens == 1 && kernels.gemv_codes != nullptr) {
    kernels.gemv_codes(rows, x, y, begin, end);
    return;
  }
  for (std::int64_t r = begin; r < end; r += tile_rows()) {
    const std::int64_t last = std::min(r + tile_rows(), end);
    kernels.decode_codes(rows, decoded, r, last);
    kernels.gemm_f32(decoded, in(), x, tokens, y + r, out(), 0, last - r);
  }
}

}  // namespace onebit::runtime
