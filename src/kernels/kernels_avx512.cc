// Kernels for AVX-512 F, BW, VL, DQ, VNNI and VBMI: Intel from Ice Lake, AMD from Zen 4 on.
#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <cstddef>
#include <immintrin.h>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx2,fma,f16c")
namespace onebit::kernels {

extern const KernelSet kernels_avx512;

namespace {

// ---- vector functions for the shared parts ----

using V = __m512;
constexpr int kLanes = 16;
/// 4 rows · 6 tokens of sums, 4 weights and an activation: 29 of 32 registers.
constexpr int kTileTokens = 6;

ONEBIT_INLINE __mmask16 first(std::int64_t n) {
  return static_cast<__mmask16>(_cvtu32_mask16(0xFFFFU >> (16 - n)));
}

ONEBIT_INLINE V zero() { return _mm512_setzero_ps(); }
ONEBIT_INLINE V set1(float v) { return _mm512_set1_ps(v); }
ONEBIT_INLINE V load(const float* p) { return _mm512_loadu_ps(p); }
ONEBIT_INLINE V load_part(const float* p, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first(n), p);
}
ONEBIT_INLINE void store(float* p, V v) { _mm512_storeu_ps(p, v); }
ONEBIT_INLINE void store_part(float* p, V v, std::int64_t n) {
  _mm512_mask_storeu_ps(p, first(n), v);
}
ONEBIT_INLINE V add(V a, V b) { return _mm512_add_ps(a, b); }
ONEBIT_INLINE V sub(V a, V b) { return _mm512_sub_ps(a, b); }
ONEBIT_INLINE V mul(V a, V b) { return _mm512_mul_ps(a, b); }
ONEBIT_INLINE V div(V a, V b) { return _mm512_div_ps(a, b); }
ONEBIT_INLINE V min(V a, V b) { return _mm512_min_ps(a, b); }
ONEBIT_INLINE V max(V a, V b) { return _mm512_max_ps(a, b); }
ONEBIT_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
ONEBIT_INLINE V round(V v) {
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
ONEBIT_INLINE V finite_or(V v, V other) {
  const __mmask16 infinite = _mm512_fpclass_ps_mask(v, 0x01 | 0x08 | 0x10 | 0x80);
  return _mm512_mask_mov_ps(v, infinite, other);
}
ONEBIT_INLINE V scale2(V v, V n) { return _mm512_scalef_ps(v, n); }
ONEBIT_INLINE float sum(V v) { return _mm512_reduce_add_ps(v); }
ONEBIT_INLINE float max_of(V v) { return _mm512_reduce_max_ps(v); }

ONEBIT_INLINE __m128 fold(V v) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

ONEBIT_INLINE __m128 reduce4(V a, V b, V c, V d) {
  const __m512d ab = _mm512_castps_pd(add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
  const __m512d cd = _mm512_castps_pd(add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
  return fold(add(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                  _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd))));
}

ONEBIT_INLINE V load_f16(const f16_bits* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
ONEBIT_INLINE V load_f16_part(const f16_bits* p, std::int64_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}
ONEBIT_INLINE V bf16_to_floats(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
ONEBIT_INLINE V load_bf16(const bf16_bits* p) {
  return bf16_to_floats(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
ONEBIT_INLINE V load_bf16_part(const bf16_bits* p, std::int64_t n) {
  return bf16_to_floats(_mm256_maskz_loadu_epi16(first(n), p));
}
ONEBIT_INLINE V broadcast_f16(f16_bits h) { return _mm512_cvtph_ps(_mm256_set1_epi16(h)); }
ONEBIT_INLINE V load_i8(const std::int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
/// Weights 16 i … of a block of 32 nibbles: the low ones come first.
ONEBIT_INLINE V load_u4(const std::uint8_t* qs, int i) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(qs));
  const __m128i nibbles = i == 0 ? bytes : _mm_srli_epi16(bytes, 4);
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(nibbles, _mm_set1_epi8(15))));
}
ONEBIT_INLINE V max_magnitude(V a, V b) {
  const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(b), _mm512_set1_epi32(0x7FFFFFFF));
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), magnitude));
}
ONEBIT_INLINE std::uint32_t magnitude_bits(V v) {
  return static_cast<std::uint32_t>(_mm512_reduce_max_epi32(_mm512_castps_si512(v)));
}
/// 16 integers nearest to v, ties to even.
ONEBIT_INLINE void store_i8(std::int8_t* p, V v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

ONEBIT_INLINE void store_f16(f16_bits* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "kernels/dense_inl.h"
#include "kernels/rows_inl.h"
//
#include "kernels/codes_avx512_inl.h"
//
#include "kernels/codes_inl.h"
//
#include "kernels/codes_gemv_inl.h"
//
#include "kernels/attention_inl.h"

constexpr std::int64_t kSignPanelRows = 64;
/// A vector is the dwords of 16 rows.
constexpr std::int64_t sign_byte(std::int64_t row, int j) { return row * 4 + j; }

#include "kernels/sign_panels_inl.h"
//
#include "kernels/sign_tables_avx512_inl.h"
//
#include "kernels/sign_gemm_inl.h"

using Int32s = Int32x16;
using Bytes = __m512i;
constexpr std::int32_t kFlip = 0x80;

ONEBIT_INLINE Bytes load_bytes(const std::byte* p) { return _mm512_loadu_si512(p); }
ONEBIT_INLINE Bytes low_nibbles(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
ONEBIT_INLINE Bytes high_nibbles(Bytes v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

ONEBIT_INLINE Int32s sums_from(std::int32_t value) {
  return reinterpret_cast<Int32s>(_mm512_set1_epi32(value));
}
ONEBIT_INLINE Int32s add_unsigned_fours(Int32s sums, Bytes w, const std::int8_t* four) {
  std::int32_t q;
  __builtin_memcpy(&q, four, sizeof(q));
  return add_products(sums, w, _mm512_set1_epi32(q));
}
ONEBIT_INLINE Int32s add_fours(Int32s sums, Bytes w, const std::int8_t* four) {
  return add_unsigned_fours(sums, w, four);
}
ONEBIT_INLINE V to_floats(Int32s sums) {
  return _mm512_cvtepi32_ps(reinterpret_cast<__m512i>(sums));
}
ONEBIT_INLINE std::int32_t sum_of_block(const std::int8_t* q) {
  const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
  const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), block);
  return _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sums));
}

#include "kernels/dense_i8_inl.h"

}  // namespace

constexpr KernelSet kernels_avx512 = {
    .name = "avx512",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
