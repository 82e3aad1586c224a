#include "runtime/code_layer.h"

#include <utility>

namespace onebit::runtime {

CodeLayer::CodeLayer(arch::CodeMatrix matrix, bool ruled)
    : ruled_(ruled), matrix_(std::move(matrix)) {
  if (!matrix_.products()) return;
  column_scale_ = std::move(matrix_.in_scale);
  if (matrix_.order.empty()) return;
  const std::vector<float> by_input = column_scale_;
  const auto columns = static_cast<std::size_t>(in());
  for (std::size_t c = 0; c < columns; ++c) {
    const auto input = static_cast<std::size_t>(matrix_.order[c]);
    column_scale_[c] = by_input[input];
    column_scale_[columns + c] = by_input[columns + input];
  }
}

std::uint64_t CodeLayer::stored_bytes() const noexcept {
  const arch::CodeMatrix& m = matrix_;
  return static_cast<std::uint64_t>(m.codes.rows * m.codes.row_bytes()) +
         (m.scale.size() + m.zero.size() + m.levels.size() + m.row_scale.size() +
          m.in_scale.size() + column_scale_.size()) *
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

void CodeLayer::decode(const kernels::KernelSet& kernels, std::int64_t begin, std::int64_t end,
                       float* decoded) const noexcept {
  if (matrix_.products()) return decode_products(kernels, begin, end, decoded);
  const kernels::CodedRows rows = {
      matrix_.codes,       matrix_.ends.data(),
      matrix_.groups(),    matrix_.scale.data(),
      matrix_.zero.data(), matrix_.levels.empty() ? nullptr : matrix_.levels.data()};
  kernels.decode_codes(rows, decoded, begin, end);
}

/// Each of the two products by levels of its own, ± the row's scale or 0; times the columns'
/// scales, and their sum.
void CodeLayer::decode_products(const kernels::KernelSet& kernels, std::int64_t begin,
                                std::int64_t end, float* decoded) const noexcept {
  const std::int64_t groups = matrix_.groups();
  float* second = decoded + tile_rows() * in() + kernels::kDecodeRoom;
  float* levels = second + tile_rows() * in() + kernels::kDecodeRoom;
  formats::CodesView codes = matrix_.codes;
  codes.data = codes.row(begin);
  codes.rows = end - begin;
  for (const std::size_t term : {std::size_t{0}, std::size_t{1}}) {
    for (std::int64_t grid = 0; grid < codes.rows * groups; ++grid) {
      const auto row_scale = static_cast<std::size_t>(2 * (begin * groups + grid)) + term;
      const arch::ProductKind kind = matrix_.kinds[static_cast<std::size_t>(grid % groups)];
      for (unsigned code = 0; code < 4; ++code) {
        levels[4 * grid + code] =
            arch::product_signs(kind, code)[term] * matrix_.row_scale[row_scale];
      }
    }
    float* to = term == 0 ? decoded : second;
    const kernels::CodedRows rows = {codes, matrix_.ends.data(), groups, nullptr, nullptr, levels};
    kernels.decode_codes(rows, to, 0, codes.rows);
    const float* scale = column_scale_.data() + static_cast<std::int64_t>(term) * in();
    for (std::int64_t r = 0; r < codes.rows; ++r) {
      kernels.multiply(to + r * in(), scale, to + r * in(), in());
    }
  }
  kernels.add(second, decoded, codes.rows * in());
}

void CodeLayer::multiply(const kernels::KernelSet& kernels, const float* x, std::int64_t tokens,
                         float* y, std::int64_t begin, std::int64_t end,
                         float* decoded) const noexcept {
  for (std::int64_t r = begin; r < end; r += tile_rows()) {
    const std::int64_t last = std::min(r + tile_rows(), end);
    decode(kernels, r, last, decoded);
    kernels.gemm_f32(decoded, in(), x, tokens, y + r, out(), 0, last - r);
  }
}

}  // namespace onebit::runtime
