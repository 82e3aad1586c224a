// The kernels of one instruction set as a table of functions, chosen once per model (never per
// row). kernels_scalar.cc is the readable reference; the others are tested against it.
//
// Everywhere: in = columns = length of x, out = rows = length of y. Activations and results are
// f32. Row ranges [row_begin, row_end) let callers split work over threads; y is indexed by
// absolute row. Kernels are noexcept, never allocate (they use up to 160 KiB of stack), are
// thread-safe, and trust their callers: shapes are validated once, when a model is loaded. Pointers
// need natural alignment only; y must not alias x unless a function says that it may.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/half.h"
#include "formats/codes.h"
#include "formats/ggml_blocks.h"
#include "formats/sign1.h"
#include "kernels/kv_blocks.h"

namespace onebit::kernels {

/// Columns that share a scale in int8 activations: few enough that one large value costs few others
/// their bits, enough that the scales cost no time.
inline constexpr std::int64_t kActivationBlock = 128;

/// Activations as int8: x[t, c] ≈ scale · q[t, c] with one scale for each block of 128 columns,
/// scale = max|x| / 127 of the block, q = round(x / scale), ties to even, both divisions in f32. So
/// |q| <= 127 and |x - scale q| <= scale / 2 but for rounding. All zero with scale 0 where max|x| /
/// 127 would be subnormal (x is zero, or nearly). All zero with scale NaN where the block holds a
/// NaN or an infinity: the results show it.
struct QuantizedRows {
  const std::int8_t* q;  ///< [T, columns rounded up to 64], zeros beyond the last column
  const float* scales;   ///< [T, blocks]

  static constexpr std::int64_t stride(std::int64_t cols) noexcept { return (cols + 63) / 64 * 64; }
  static constexpr std::int64_t blocks(std::int64_t cols) noexcept {
    return (cols + kActivationBlock - 1) / kActivationBlock;
  }
};

/// Below this max|x| a block quantises to zero: max|x| / 127 would lose bits as a subnormal.
inline constexpr float kQuantizeZeroBelow = 127.0F * 0x1p-126F;

/// Everything dense is y[t, r] = Σ_c W[r, c] x[t, c] over T tokens; x is [T, in], y is [T, ldy].
/// |err| <= in · 2^-23 · Σ_c |W[r, c] x[t, c]|. On one ISA y[t, r] is the same bit for bit whatever
/// T and the row range are.
template <class Weight>
using DenseGemm = void (*)(const Weight* w, std::int64_t in, const float* x, std::int64_t tokens,
                           float* y, std::int64_t ldy, std::int64_t row_begin,
                           std::int64_t row_end) noexcept;

/// S as the kernels of one set read it: in that set's SignLayout. sign_matrix.h makes it.
struct PackedSigns {
  const std::byte* data;
  std::int64_t rows;
  std::int64_t cols;
};

/// S with an own scale for every group of inputs: W[r, c] = h[r, c / group_size] · S[r, c].
struct GroupedSigns {
  PackedSigns s;
  const float* h;           ///< [rows, groups = cols / group_size, rounded up], in the set's layout
  std::int64_t group_size;  ///< 16, 32, 64 or 128
};

/// How a set wants S and h in memory: in panels of rows.
struct SignLayout {
  std::int64_t panel_rows;
  /// Of a matrix [rows, cols].
  std::int64_t (*bytes)(std::int64_t rows, std::int64_t cols) noexcept;
  /// Writes rows [row_begin, row_end) to `out`, which holds bytes() of the whole matrix and is
  /// aligned to 64. The range begins at a multiple of panel_rows and ends at one or at the last
  /// row.
  void (*pack)(const formats::Sign1View& s, std::byte* out, std::int64_t row_begin,
               std::int64_t row_end) noexcept;
  /// Scales of groups of such a matrix.
  std::int64_t (*scales)(std::int64_t rows, std::int64_t cols, std::int64_t group_size) noexcept;
  /// h [rows, groups] to `out`, which holds scales().
  void (*pack_scales)(const float* h, std::int64_t rows, std::int64_t cols, std::int64_t group_size,
                      float* out) noexcept;
};

/// q8_0 or q4_0 weights as the int8 kernels of one set read them: in that set's BlockLayout.
struct PackedBlocks {
  const std::byte* data;
  std::int64_t rows;
  std::int64_t cols;  ///< a multiple of 32
};

/// As SignLayout, of the type's blocks stored row by row.
struct BlockLayout {
  std::int64_t panel_rows;
  std::int64_t (*bytes)(std::int64_t rows, std::int64_t cols) noexcept;
  void (*pack)(const std::byte* blocks, std::int64_t rows, std::int64_t cols, std::byte* out,
               std::int64_t row_begin, std::int64_t row_end) noexcept;
};

/// y[t, r] = Σ_c W[r, c] x[t, c] over int8 activations, equal on every ISA, bit for bit: with d[b]
/// = Σ w q[t, c] of the 32 columns of block b, w the block's integers, an exact integer, a =
/// fma(d[b] · scale, D[r, b], a) in f32 from a = 0 on in the order of the blocks, D the block's
/// scale; y[t, r] = a, [T, ldy].
using BlockGemm = void (*)(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens,
                           float* y, std::int64_t ldy, std::int64_t row_begin,
                           std::int64_t row_end) noexcept;

/// Of codes of two bits: each stands for two products of a scale of the row and one of the column.
struct CodedProducts {
  const float* signs;      ///< [groups, 2, 4]: factor of each product by code
  const float* row_scale;  ///< [rows, groups, 2]
  const float* col_scale;  ///< [2, cols]
};

/// Integer codes and what they stand for. Columns are in groups, each in every row a grid of its
/// own.
struct CodedRows {
  formats::CodesView codes;
  const std::int32_t*
      ends;  ///< [groups], ascending, the last one cols: group s ends before ends[s]
  std::int64_t groups;
  const float* scale;   ///< [rows, groups]
  const float* zero;    ///< [rows, groups]
  const float* levels;  ///< [rows, groups, 2^bits], in place of scale and zero; else null
  const CodedProducts* products = nullptr;  ///< in place of all three
};

/// Floats after the last row that a decoded matrix needs room for.
inline constexpr std::int64_t kDecodeRoom = 8;

/// Keys and values of one head: blocks as KvLayout has them, one after the other.
struct KvHead {
  const std::byte* keys;
  const std::byte* values;
  std::int64_t dim;
};

/// The query heads that share a key/value head, of consecutive tokens: query i is one of token
/// i / group and sees the positions 0 … position + i / group.
struct Queries {
  const float* q;  ///< [count, dim], rotated and scaled
  std::int64_t count;
  std::int64_t group;
  std::int64_t position;  ///< of the first token
};

/// Most queries of a call: enough to reuse a block from the nearest cache.
inline constexpr std::int64_t kMaxQueries = 48;

/// Floats that a call works with.
constexpr std::int64_t attend_scratch(std::int64_t dim) noexcept {
  const std::int64_t padded = (dim + 15) / 16 * 16;
  return kMaxQueries * (kKvBlock + padded) + kKvBlock * (dim + padded);
}

/// Causal attention of one key/value head over keys k and values v stored in one type:
///   out[i] = Σ_p w[i, p] v[p] / Σ_p w[i, p],  w[i, p] = e^(q[i] · k[p] - m[i]),  m[i] the maximum,
/// in one pass over the blocks, in which m and both sums follow the maximum so far (online softmax,
/// arXiv 1805.02867). |err| <= (2 s + 2^-22 · positions) max|v|, s = dim · 2^-23 · max_p Σ|q k|.
/// out of query i is [dim] at out + (i / group) · stride + (i % group) · dim; scratch holds
/// attend_scratch(dim) floats, aligned to 64. On one ISA a query's result is the same bit for bit
/// whatever other queries are in the call.
using Attend = void (*)(const KvHead& head, const Queries& queries, float* scratch, float* out,
                        std::int64_t stride) noexcept;

struct KernelSet {
  std::string_view name;

  // ---- 1-bit: S in {-1,+1} ----

  /// Null: S as formats::Sign1View's words, h by rows.
  const SignLayout* signs;

  /// y[t, r] = h[r] Σ_c S[r, c] x[t, c] over T tokens, without h where it is null: x [T, in], y [T,
  /// ldy]. |err| <= |h| · in · 2^-23 · Σ|x| for any summation order.
  void (*gemm_sign1_f32)(const PackedSigns& s, const float* h, const float* x, std::int64_t tokens,
                         float* y, std::int64_t ldy, std::int64_t row_begin,
                         std::int64_t row_end) noexcept;

  /// The same over int8 activations, equal on every ISA, bit for bit: with d[b] = Σ S[r, c] q[t, c]
  /// of the columns of block b, an exact integer, a = fma(d[b], scale[t, b], a) in f32 from a = 0
  /// on in the order of the blocks, and y[t, r] = a · h[r].
  void (*gemm_sign1_i8)(const PackedSigns& s, const float* h, const QuantizedRows& x,
                        std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t row_begin,
                        std::int64_t row_end) noexcept;

  /// y[t, r] = Σ_c W[r, c] x[t, c] with the bound of DenseGemm: x [T, in], y [T, ldy].
  void (*gemm_sign1_grouped_f32)(const GroupedSigns& w, const float* x, std::int64_t tokens,
                                 float* y, std::int64_t ldy, std::int64_t row_begin,
                                 std::int64_t row_end) noexcept;

  /// The same over int8 activations, equal on every ISA, bit for bit: with d[g] = Σ S[r, c] q[t, c]
  /// of the columns of group g, a = fma(d[g] · scale, h[r, g], a) in the order of the groups.
  void (*gemm_sign1_grouped_i8)(const GroupedSigns& w, const QuantizedRows& x, std::int64_t tokens,
                                float* y, std::int64_t ldy, std::int64_t row_begin,
                                std::int64_t row_end) noexcept;

  /// One token x ⊙ g, or x where g is null, n values, as QuantizedRows says, with zeros up to
  /// stride(n). Equal on every ISA, bit for bit.
  void (*quantize_i8)(const float* x, const float* g, std::int64_t n, std::int8_t* q,
                      float* scales) noexcept;

  // ---- dense: embeddings' head, full-precision models ----
  DenseGemm<float> gemm_f32;
  DenseGemm<f16_bits> gemm_f16;
  DenseGemm<bf16_bits> gemm_bf16;
  DenseGemm<formats::BlockQ8_0> gemm_q8_0;  ///< in a multiple of 32; weights w = d q in f32
  DenseGemm<formats::BlockQ4_1> gemm_q4_1;  ///< likewise w = d q + m

  /// Null: blocks as they are stored.
  const BlockLayout* q8_0;
  const BlockLayout* q4_0;
  BlockGemm gemm_q8_0_i8;  ///< w = q
  BlockGemm gemm_q4_0_i8;  ///< w = q - 8

  /// Rows [row_begin, row_end) as weights, [row_end - row_begin, cols] and kDecodeRoom floats more:
  /// w = (code - zero) · scale, difference and product in f32, or w = levels[code], or of products
  /// w = fma(l[1], col_scale[1], l[0] · col_scale[0]), l[p] = signs[p, code] · row_scale[p], in
  /// f32. Equal on every ISA, bit for bit.
  void (*decode_codes)(const CodedRows& w, float* out, std::int64_t row_begin,
                       std::int64_t row_end) noexcept;

  /// y[r] = Σ_c W[r, c] x[c] of one token, bit for bit as decode_codes and gemm_f32 give it, but
  /// for the bits of a NaN. Null: by those two.
  void (*gemv_codes)(const CodedRows& w, const float* x, float* y, std::int64_t row_begin,
                     std::int64_t row_end) noexcept;

  // ---- attention ----
  Attend attend_f32;
  Attend attend_f16;
  Attend attend_q8_0;

  // ---- elementwise and row operations, one row of n values ----

  /// To binary16, nearest even, equal on every ISA but for the bits of a NaN.
  void (*to_f16)(const float* x, f16_bits* y, std::int64_t n) noexcept;

  /// y = x ⊙ g; y may be x or g.
  void (*multiply)(const float* x, const float* g, float* y, std::int64_t n) noexcept;
  /// y += x
  void (*add)(const float* x, float* y, std::int64_t n) noexcept;
  /// RMSNorm: y = x / sqrt(mean(x²) + eps) ⊙ w; y may be x. Σx² must not overflow f32.
  void (*rms_norm)(const float* x, const float* w, float eps, float* y, std::int64_t n) noexcept;
  /// LayerNorm without parameters: y = (x - mean) / sqrt(var + eps), biased variance; y may be x.
  /// Σ(x - mean)² must not overflow f32.
  void (*layer_norm)(const float* x, float eps, float* y, std::int64_t n) noexcept;
  /// SwiGLU: y = silu(gate) ⊙ up, silu(v) = v / (1 + e^-v); y may be gate or up.
  /// Relative error of silu under 2^-21, or absolute under 2^-120 (v < -87).
  void (*swiglu)(const float* gate, const float* up, float* y, std::int64_t n) noexcept;
  /// y = x where it is finite, else -inf; y may be x. Returns the largest y, -inf for n = 0. Equal
  /// on every ISA.
  float (*keep_finite)(const float* x, float* y, std::int64_t n) noexcept;
  /// In place: x = e^(x - max) / Σ. n >= 1; -inf is allowed (gives 0) beside one finite value.
  void (*softmax)(float* x, std::int64_t n) noexcept;
};

/// The best set that this CPU runs.
const KernelSet& best_kernels() noexcept;

/// A set by name. Throws Error{kUnsupported} when it is unknown or this CPU lacks it.
const KernelSet& kernels_by_name(std::string_view name);

/// The sets that this CPU runs, best first; always ends with "scalar".
std::vector<const KernelSet*> available_kernels();

}  // namespace onebit::kernels
