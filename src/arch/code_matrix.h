// A matrix as integer codes: what every method with more than the 1-bit layer's two levels stores.
//
// The columns are in groups; in every row a group has a grid of its own:
//
//   W[r, order[c]] = in_scale[order[c]] · scale[r, s] (code[r, c] - zero[r, s])    group s of
//   column c
//
// or levels[r, s, code[r, c]] in place of scale · (code - zero), or products of a scale of the row
// and one of the input (ARB-LLM's rows and columns), by codes of two bits:
//
//   W[r, order[c]] = a · row_scale[r, s, 0] · in_scale[0, order[c]]
//                  + b · row_scale[r, s, 1] · in_scale[1, order[c]]    a, b: product_signs()
//
// A permutation of the inputs brings those together that share a group (GPTQ by activation order,
// BiLLM's salient columns).
#pragma once

#include <array>
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
  bool tables = false;    ///< levels, not scale and zero
  bool products = false;  ///< row and input scales, two of each; codes have two bits
  /// Zero points are stored: i8 for whole ones of 0 to 255, i16 for any whole ones. None: all are
  /// symmetric_zero().
  std::optional<formats::DType> zero = {};
  bool ordered = false;   ///< there is a permutation
  bool in_scale = false;  ///< there are scales of inputs; of products they are always there
};

/// What the two bits of a code say where levels are products of scales.
enum class ProductKind : std::int8_t {
  kOneOf = 0,  ///< the upper one which product, the lower one its sign
  kSum = 1,    ///< each the sign of one product; the lower one that of the first
};

/// The factors, -1, 0 or 1, of the two products. A sign's bit is 1 for +1.
constexpr std::array<float, 2> product_signs(ProductKind kind, unsigned code) noexcept {
  const float low = (code & 1U) != 0 ? 1.0F : -1.0F;
  const bool high = (code & 2U) != 0;
  if (kind == ProductKind::kSum) return {low, high ? 1.0F : -1.0F};
  return high ? std::array{0.0F, low} : std::array{low, 0.0F};
}

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
  std::vector<float> row_scale;     ///< [out, groups, 2]
  std::vector<ProductKind> kinds;   ///< [groups], beside row_scale
  std::vector<std::int32_t> order;  ///< [in], a permutation: stored column c is input order[c]
  std::vector<float> in_scale;      ///< [in], of inputs; beside row_scale [2, in]
};

/// The same as read from a file.
struct CodeMatrix {
  formats::CodesView codes;  ///< into the file
  std::vector<std::int32_t> ends;
  std::vector<float> scale;
  std::vector<float> zero;  ///< always there beside scale
  std::vector<float> levels;
  std::vector<float> row_scale;
  std::vector<ProductKind> kinds;
  std::vector<std::int32_t> order;  ///< empty: none
  std::vector<float> in_scale;      ///< empty: none

  std::int64_t groups() const noexcept { return std::ssize(ends); }
  bool products() const noexcept { return !row_scale.empty(); }
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
