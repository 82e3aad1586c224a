#include "arch/code_matrix.h"

#include <algorithm>

#include "base/check.h"

namespace onebit::arch {

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
  bytes += grids * scale_bytes * (spec.tables ? std::int64_t{1} << spec.bits : 1);
  if (spec.zero) bytes += grids * formats::info(*spec.zero).block_bytes;
  if (spec.ordered) bytes += in * std::int64_t{sizeof(std::int32_t)};
  if (spec.in_scale) bytes += in * scale_bytes;
  return static_cast<std::uint64_t>(bytes);
}

void dequantize(const CodeMatrix& matrix, std::span<float> w) {
  const formats::CodesView& view = matrix.codes;
  const auto in = static_cast<std::size_t>(view.cols);
  ONEBIT_CHECK(w.size() == static_cast<std::size_t>(view.rows) * in);
  std::vector<std::uint8_t> codes(in);
  for (std::int64_t r = 0; r < view.rows; ++r) {
    formats::codes_unpack_row({view.row(r), static_cast<std::size_t>(view.row_bytes())}, 0,
                              view.bits, codes);
    const std::span<float> row = w.subspan(static_cast<std::size_t>(r) * in, in);
    std::size_t c = 0;
    for (std::size_t s = 0; s < matrix.ends.size(); ++s) {
      const std::size_t at = static_cast<std::size_t>(r) * matrix.ends.size() + s;
      for (; c < static_cast<std::size_t>(matrix.ends[s]); ++c) {
        float value = matrix.levels.empty()
                          ? (static_cast<float>(codes[c]) - matrix.zero[at]) * matrix.scale[at]
                          : matrix.levels[(at << view.bits) + codes[c]];
        const std::size_t input =
            matrix.order.empty() ? c : static_cast<std::size_t>(matrix.order[c]);
        if (!matrix.in_scale.empty()) value *= matrix.in_scale[input];
        row[input] = value;
      }
    }
  }
}

}  // namespace onebit::arch
