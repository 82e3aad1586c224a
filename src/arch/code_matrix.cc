#include "arch/code_matrix.h"

#include <algorithm>

#include "base/check.h"

namespace onebit::arch {
namespace {

/// What a code of an input stands for, `grid` being its row's and group's. `matrix` is CodeMatrix
/// or CodeValues.
template <class Matrix>
float weight(const Matrix& matrix, int bits, std::size_t grid, std::size_t group, unsigned code,
             std::size_t input, std::size_t in) {
  if (!matrix.row_scale.empty()) {
    const auto [first, second] = product_signs(matrix.kinds[group], code);
    return first * matrix.row_scale[2 * grid] * matrix.in_scale[input] +
           second * matrix.row_scale[2 * grid + 1] * matrix.in_scale[in + input];
  }
  float value = 0;
  if (matrix.levels.empty()) {
    const float zero = matrix.zero.empty() ? symmetric_zero(bits) : matrix.zero[grid];
    value = (static_cast<float>(code) - zero) * matrix.scale[grid];
  } else {
    value = matrix.levels[(grid << bits) + code];
  }
  return matrix.in_scale.empty() ? value : value * matrix.in_scale[input];
}

/// Row r of W.
template <class Matrix>
void decode_row(const Matrix& matrix, int bits, std::span<const std::uint8_t> codes, std::size_t r,
                std::span<float> w) {
  const std::span<float> row = w.subspan(r * codes.size(), codes.size());
  std::size_t c = 0;
  for (std::size_t s = 0; s < matrix.ends.size(); ++s) {
    const std::size_t grid = r * matrix.ends.size() + s;
    for (; c < static_cast<std::size_t>(matrix.ends[s]); ++c) {
      const std::size_t input =
          matrix.order.empty() ? c : static_cast<std::size_t>(matrix.order[c]);
      row[input] = weight(matrix, bits, grid, s, codes[c], input, codes.size());
    }
  }
}

}  // namespace

std::vector<std::int32_t> group_ends(std::int64_t in, std::int64_t size) {
  std::vector<std::int32_t> ends;
  const std::int64_t step = size > 0 ? size : in;
  for (std::int64_t end = step; end < in; end += step) {
    ends.push_back(static_cast<std::int32_t>(end));
  }
  ends.push_back(static_cast<std::int32_t>(in));
  return ends;
}

std::uint64_t code_bytes(const CodeSpec& spec, std::int64_t out, std::int64_t in,
                         formats::DType scales) {
  const std::int64_t scale_bytes = formats::info(scales).block_bytes;
  const std::int64_t grids = out * spec.groups;
  std::int64_t bytes = out * formats::codes_row_bytes(in, spec.bits);
  bytes += (spec.groups + 1) * std::int64_t{sizeof(std::int32_t)};
  const std::int64_t table = spec.tables ? std::int64_t{1} << spec.bits : 1;
  bytes += grids * scale_bytes * (spec.products ? 2 : table);
  if (spec.products) bytes += spec.groups + 2 * in * scale_bytes;
  if (spec.zero) bytes += grids * formats::info(*spec.zero).block_bytes;
  if (spec.ordered) bytes += in * std::int64_t{sizeof(std::int32_t)};
  if (spec.in_scale) bytes += in * scale_bytes;
  return static_cast<std::uint64_t>(bytes);
}

void dequantize(const CodeMatrix& matrix, std::span<float> w) {
  const formats::CodesView& view = matrix.codes;
  ONEBIT_CHECK(std::ssize(w) == view.rows * view.cols);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(view.cols));
  for (std::int64_t r = 0; r < view.rows; ++r) {
    formats::codes_unpack_row({view.row(r), static_cast<std::size_t>(view.row_bytes())}, 0,
                              view.bits, codes);
    decode_row(matrix, view.bits, codes, static_cast<std::size_t>(r), w);
  }
}

void dequantize(const CodeSpec& spec, const CodeValues& values, std::span<float> w) {
  ONEBIT_CHECK(w.size() == values.codes.size());
  const auto in = static_cast<std::size_t>(values.ends.back());
  for (std::size_t r = 0; r * in < w.size(); ++r) {
    decode_row(values, spec.bits, std::span(values.codes).subspan(r * in, in), r, w);
  }
}

}  // namespace onebit::arch
