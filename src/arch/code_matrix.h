// A matrix as integer codes: what every method with more than the 1-bit layer's two levels stores.
//
// The columns are in groups; in every row a group has a grid of its own:
//
//   W[r, order[c]] = in_scale[order[c]] · scale[r, s] (code[r, c] - zero[r, s])    group s of
//   column c
//
// or levels[r, s, code[r, c]] in place of scale · (code - zero). A permutation of the inputs
// brings those together that share a group (GPTQ by activation order, BiLLM's salient columns).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "formats/codes.h"
#include "formats/dtype.h"

namespace onebit::arch {

/// What decides which tensors stand for a matrix in a file, and their shapes.
struct CodeSpec {
  int bits = 8;
  std::int64_t groups = 1;
  bool tables = false;  ///< levels, not scale and zero
  /// Zero points are stored: i8 for whole ones of 0 to 255, i16 for any whole ones. None: all are
  /// symmetric_zero().
  std::optional<formats::DType> zero = {};
  bool ordered = false;   ///< there is a permutation
  bool in_scale = false;  ///< there are scales of inputs
};

/// The middle of the codes 0 … 2^bits - 1: 2^(bits - 1), of two codes 1/2.
constexpr float symmetric_zero(int bits) noexcept {
  return bits == 1 ? 0.5F : static_cast<float>(1 << (bits - 1));
}

/// A matrix [out, in] by `spec`, to be written. What a spec does not have is empty.
struct CodeValues {
  std::vector<std::uint8_t> codes;  ///< [out, in] row-major, columns as stored
  std::vector<std::int32_t> ends;   ///< [groups], ascending, the last one in
  std::vector<float> scale;         ///< [out, groups]
  std::vector<float> zero;          ///< [out, groups]
  std::vector<float> levels;        ///< [out, groups, 2^bits]
  std::vector<std::int32_t> order;  ///< [in], a permutation: stored column c is input order[c]
  std::vector<float> in_scale;      ///< [in], of inputs
};

/// The same as read from a file.
struct CodeMatrix {
  formats::CodesView codes;  ///< into the file
  std::vector<std::int32_t> ends;
  std::vector<float> scale;
  std::vector<float> zero;  ///< always there beside scale
  std::vector<float> levels;
  std::vector<std::int32_t> order;  ///< empty: none
  std::vector<float> in_scale;      ///< empty: none

  std::int64_t groups() const noexcept { return std::ssize(ends); }
};

/// Ends of groups of `size` columns of `in`, the last one perhaps smaller; size 0: one group.
std::vector<std::int32_t> group_ends(std::int64_t in, std::int64_t size);

/// Bytes of all tensors that stand for a matrix, scales in `scales`, without padding between them.
std::uint64_t code_bytes(const CodeSpec& spec, std::int64_t out, std::int64_t in,
                         formats::DType scales);

/// W [out, in], row-major, columns by input, in f32.
void dequantize(const CodeMatrix& matrix, std::span<float> w);
void dequantize(const CodeSpec& spec, const CodeValues& values, std::span<float> w);

}  // namespace onebit::arch
