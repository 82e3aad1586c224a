// Kernels for 64-bit Arm with the dot product of Armv8.2: Cortex from A55 and A76, Neoverse, Apple
// from A13 and M1 on.
#include "kernels/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <cstddef>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#if !defined(__clang__)
// Else g++ first orders the instructions as if there were registers without end, here for Arm
// though not for x86: tables and weights are loaded far ahead, and the sums are spilled.
#pragma GCC optimize("no-schedule-insns")
#endif
namespace onebit::kernels {

extern const KernelSet kernels_neon;

namespace {

// ---- vector functions for the shared parts ----

using V = float32x4_t;
constexpr int kLanes = 4;
/// 4 rows · 6 tokens of sums, 4 weights and an activation: 29 of 32 registers.
constexpr int kTileTokens = 6;

ONEBIT_INLINE V zero() { return vdupq_n_f32(0.0F); }
ONEBIT_INLINE V set1(float v) { return vdupq_n_f32(v); }
ONEBIT_INLINE V load(const float* p) { return vld1q_f32(p); }
ONEBIT_INLINE V load_part(const float* p, std::int64_t n) {
  if (n >= kLanes) return load(p);
  V v = vld1q_lane_f32(p, zero(), 0);
  if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
  return n > 2 ? vld1q_lane_f32(p + 2, v, 2) : v;
}
ONEBIT_INLINE void store(float* p, V v) { vst1q_f32(p, v); }
ONEBIT_INLINE void store_part(float* p, V v, std::int64_t n) {
  vst1q_lane_f32(p, v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}
ONEBIT_INLINE V add(V a, V b) { return vaddq_f32(a, b); }
ONEBIT_INLINE V sub(V a, V b) { return vsubq_f32(a, b); }
ONEBIT_INLINE V mul(V a, V b) { return vmulq_f32(a, b); }
ONEBIT_INLINE V div(V a, V b) { return vdivq_f32(a, b); }
ONEBIT_INLINE V min(V a, V b) { return vminq_f32(a, b); }
ONEBIT_INLINE V max(V a, V b) { return vmaxq_f32(a, b); }
ONEBIT_INLINE V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
ONEBIT_INLINE V round(V v) { return vrndnq_f32(v); }

/// v - v is 0 unless v is infinite or NaN.
ONEBIT_INLINE V finite_or(V v, V other) {
  return vbslq_f32(vceqq_f32(sub(v, v), zero()), v, other);
}

/// v 2^n in two steps, n in [-150, 128], so that a subnormal result rounds once.
ONEBIT_INLINE V scale2(V v, V n) {
  const int32x4_t whole = vcvtq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t factor1 = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t factor2 = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
  return mul(mul(v, vreinterpretq_f32_s32(factor1)), vreinterpretq_f32_s32(factor2));
}

ONEBIT_INLINE V reduce4(V a, V b, V c, V d) {
  return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}
ONEBIT_INLINE float sum(V v) { return vaddvq_f32(v); }
ONEBIT_INLINE float max_of(V v) { return vmaxvq_f32(v); }

/// n <= kLanes integers, then zeros.
ONEBIT_INLINE uint16x4_t load_u16_part(const std::uint16_t* p, std::int64_t n) {
  std::uint64_t bits = 0;
  for (std::int64_t i = 0; i < n; ++i) bits |= static_cast<std::uint64_t>(p[i]) << (16 * i);
  return vcreate_u16(bits);
}
ONEBIT_INLINE V f16_to_floats(uint16x4_t bits) { return vcvt_f32_f16(vreinterpret_f16_u16(bits)); }
ONEBIT_INLINE V load_f16(const f16_bits* p) { return f16_to_floats(vld1_u16(p)); }
ONEBIT_INLINE V load_f16_part(const f16_bits* p, std::int64_t n) {
  return f16_to_floats(load_u16_part(p, n));
}
ONEBIT_INLINE V bf16_to_floats(uint16x4_t bits) {
  return vreinterpretq_f32_u32(vshll_n_u16(bits, 16));
}
ONEBIT_INLINE V load_bf16(const bf16_bits* p) { return bf16_to_floats(vld1_u16(p)); }
ONEBIT_INLINE V load_bf16_part(const bf16_bits* p, std::int64_t n) {
  return bf16_to_floats(load_u16_part(p, n));
}
ONEBIT_INLINE V broadcast_f16(f16_bits h) { return f16_to_floats(vdup_n_u16(h)); }

/// Four bytes, and four of no meaning.
ONEBIT_INLINE uint8x8_t load_four(const void* p) {
  std::uint32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return vreinterpret_u8_u32(vdup_n_u32(four));
}
ONEBIT_INLINE V load_i8(const std::int8_t* p) {
  const int16x8_t words = vmovl_s8(vreinterpret_s8_u8(load_four(p)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
}
/// Weights 4 i … of a block of 32 nibbles: the low ones come first.
ONEBIT_INLINE V load_u4(const std::uint8_t* qs, int i) {
  const uint8x8_t bytes = load_four(qs + i % 4 * 4);
  const uint8x8_t nibbles = i < 4 ? vand_u8(bytes, vdup_n_u8(15)) : vshr_n_u8(bytes, 4);
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(nibbles))));
}
ONEBIT_INLINE V max_magnitude(V a, V b) {
  const uint32x4_t magnitude = vandq_u32(vreinterpretq_u32_f32(b), vdupq_n_u32(0x7FFFFFFFU));
  return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a), magnitude));
}
ONEBIT_INLINE std::uint32_t magnitude_bits(V v) { return vmaxvq_u32(vreinterpretq_u32_f32(v)); }
/// 4 integers nearest to v, ties to even.
ONEBIT_INLINE void store_i8(std::int8_t* p, V v) {
  const int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(v));
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  const std::int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
  __builtin_memcpy(p, &four, sizeof(four));
}

ONEBIT_INLINE void store_f16(f16_bits* p, V v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

#include "kernels/dense_inl.h"
#include "kernels/rows_inl.h"

ONEBIT_INLINE void store_codes(std::uint64_t word, int bits, float* out) {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  for (int i = 0; i < 8; ++i) out[i] = static_cast<float>(word >> (i * bits) & mask);
}

ONEBIT_INLINE V look_up(V levels, V codes) {
  // Level l is bytes 4 l … 4 l + 3 of the table.
  const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), vcvtq_u32_f32(codes), 0x04040404);
  return vreinterpretq_f32_u8(
      vqtbl1q_u8(vreinterpretq_u8_f32(levels), vreinterpretq_u8_u32(bytes)));
}

#include "kernels/codes_words_inl.h"
//
#include "kernels/codes_inl.h"
//
#include "kernels/attention_inl.h"

constexpr decltype(KernelSet::gemv_codes) kGemvCodes = nullptr;

constexpr std::int64_t kSignPanelRows = 16;
/// A vector is one byte of every row.
constexpr std::int64_t sign_byte(std::int64_t row, int j) { return j * kSignPanelRows + row; }

#include "kernels/sign_panels_inl.h"
//
#include "kernels/sign_tables_neon_inl.h"
//
#include "kernels/sign_bytes_inl.h"
//
#include "kernels/sign_gemm_inl.h"

// ---- blocks over int8: the names above for four vectors at a time, so that a broadcast of
// activations serves 16 rows, and their sums do not wait for each other ----

namespace four_vectors {

constexpr int kLanes = 16;

template <class Vector>
struct Four {
  Vector part[4];
};
using V = Four<float32x4_t>;
using Int32s = Four<int32x4_t>;
using Bytes = Four<uint8x16_t>;
constexpr std::int32_t kFlip = 0;

/// {f(0), f(1), f(2), f(3)}
template <class F>
ONEBIT_INLINE auto each(const F& f) {
  return Four<decltype(f(0))>{{f(0), f(1), f(2), f(3)}};
}

ONEBIT_INLINE V set1(float v) {
  return each([=](int) { return vdupq_n_f32(v); });
}
ONEBIT_INLINE V load(const float* p) {
  return each([=](int i) { return vld1q_f32(p + 4 * i); });
}
ONEBIT_INLINE void store(float* p, const V& v) {
  ONEBIT_UNROLL
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v.part[i]);
}
ONEBIT_INLINE V load_f16(const f16_bits* p) {
  return each([=](int i) { return kernels::load_f16(p + 4 * i); });
}
ONEBIT_INLINE V mul(const V& a, const V& b) {
  return each([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
ONEBIT_INLINE V fma(const V& a, const V& b, const V& c) {
  return each([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
ONEBIT_INLINE Int32s sums_from(std::int32_t value) {
  return each([=](int) { return vdupq_n_s32(value); });
}
ONEBIT_INLINE Bytes load_bytes(const std::byte* p) {
  return each([=](int i) { return kernels::load_bytes(p + 16 * i); });
}
ONEBIT_INLINE Bytes low_nibbles(const Bytes& v) {
  return each([&](int i) { return vandq_u8(v.part[i], vdupq_n_u8(15)); });
}
ONEBIT_INLINE Bytes high_nibbles(const Bytes& v) {
  return each([&](int i) { return vshrq_n_u8(v.part[i], 4); });
}
ONEBIT_INLINE Int32s add_fours(const Int32s& sums, const Bytes& w, const std::int8_t* four) {
  std::int32_t q;
  __builtin_memcpy(&q, four, sizeof(q));
  const int8x16_t fours = vreinterpretq_s8_s32(vdupq_n_s32(q));
  return each(
      [&](int i) { return vdotq_s32(sums.part[i], vreinterpretq_s8_u8(w.part[i]), fours); });
}
/// Bytes up to 15 are the same with a sign.
ONEBIT_INLINE Int32s add_unsigned_fours(const Int32s& sums, const Bytes& w,
                                        const std::int8_t* four) {
  return add_fours(sums, w, four);
}
ONEBIT_INLINE V to_floats(const Int32s& sums) {
  return each([&](int i) { return vcvtq_f32_s32(sums.part[i]); });
}
ONEBIT_INLINE std::int32_t sum_of_block(const std::int8_t* q) {
  const int8x16_t one = vdupq_n_s8(1);
  const int32x4_t half = vdotq_s32(vdupq_n_s32(0), vld1q_s8(q), one);
  return vaddvq_s32(vdotq_s32(half, vld1q_s8(q + 16), one));
}

#include "kernels/dense_i8_inl.h"

}  // namespace four_vectors

using four_vectors::gemm_q4_0_i8;
using four_vectors::gemm_q8_0_i8;
using four_vectors::kPanelsQ4_0;
using four_vectors::kPanelsQ8_0;

}  // namespace

constexpr KernelSet kernels_neon = {
    .name = "neon",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
