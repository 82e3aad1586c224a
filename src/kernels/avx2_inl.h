// What the sets of 256-bit vectors share, which is all but how products of bytes are added up.
// Included inside a target region and an unnamed namespace, after the set's own
//
//   add_products(s, w, q)   s[i] += Σ_k w[4 i + k] · q[4 i + k], k < 4; w unsigned, up to 128
//   kFlip                   of dense_i8_inl.h
//   add_signed_products     the same of bytes w as packed from q8_0

// ---- vector functions for the shared parts ----

using V = __m256;
constexpr int kLanes = 8;
/// 4 rows · 3 tokens of sums and 4 weights are 16 registers; activations come from memory.
constexpr int kTileTokens = 3;

/// n lanes of ones, then zeros.
ONEBIT_INLINE __m256i first(std::int64_t n) {
  static constexpr std::int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + kLanes - n));
}

ONEBIT_INLINE V zero() { return _mm256_setzero_ps(); }
ONEBIT_INLINE V set1(float v) { return _mm256_set1_ps(v); }
ONEBIT_INLINE V load(const float* p) { return _mm256_loadu_ps(p); }
ONEBIT_INLINE V load_part(const float* p, std::int64_t n) {
  return _mm256_maskload_ps(p, first(n));
}
ONEBIT_INLINE void store(float* p, V v) { _mm256_storeu_ps(p, v); }
ONEBIT_INLINE void store_part(float* p, V v, std::int64_t n) {
  _mm256_maskstore_ps(p, first(n), v);
}
ONEBIT_INLINE V add(V a, V b) { return _mm256_add_ps(a, b); }
ONEBIT_INLINE V sub(V a, V b) { return _mm256_sub_ps(a, b); }
ONEBIT_INLINE V mul(V a, V b) { return _mm256_mul_ps(a, b); }
ONEBIT_INLINE V div(V a, V b) { return _mm256_div_ps(a, b); }
ONEBIT_INLINE V min(V a, V b) { return _mm256_min_ps(a, b); }
ONEBIT_INLINE V max(V a, V b) { return _mm256_max_ps(a, b); }
ONEBIT_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
ONEBIT_INLINE V round(V v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// v - v is NaN unless v is finite.
ONEBIT_INLINE V finite_or(V v, V other) {
  return _mm256_blendv_ps(v, other, _mm256_cmp_ps(v, sub(v, v), _CMP_UNORD_Q));
}

/// v 2^n in two steps, n in [-150, 128], so that a subnormal result rounds once.
ONEBIT_INLINE V scale2(V v, V n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i factor1 = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i factor2 = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
  return mul(mul(v, _mm256_castsi256_ps(factor1)), _mm256_castsi256_ps(factor2));
}

ONEBIT_INLINE __m128 fold(V v) {
  return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

ONEBIT_INLINE __m128 reduce4(V a, V b, V c, V d) {
  const __m256d ab = _mm256_castps_pd(add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
  const __m256d cd = _mm256_castps_pd(add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
  return fold(add(_mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
                  _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd))));
}

ONEBIT_INLINE float sum(V v) {
  __m128 s = fold(v);
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

ONEBIT_INLINE float max_of(V v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

ONEBIT_INLINE __m128i load_u16_part(const std::uint16_t* p, std::int64_t n) {
  alignas(16) std::uint16_t values[8] = {};
  for (std::int64_t i = 0; i < n; ++i) values[i] = p[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(values));
}
ONEBIT_INLINE V load_f16(const f16_bits* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
ONEBIT_INLINE V load_f16_part(const f16_bits* p, std::int64_t n) {
  return _mm256_cvtph_ps(load_u16_part(p, n));
}
ONEBIT_INLINE V bf16_to_floats(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
ONEBIT_INLINE V load_bf16(const bf16_bits* p) {
  return bf16_to_floats(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
ONEBIT_INLINE V load_bf16_part(const bf16_bits* p, std::int64_t n) {
  return bf16_to_floats(load_u16_part(p, n));
}
ONEBIT_INLINE V broadcast_f16(f16_bits h) {
  return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<std::int16_t>(h)));
}
ONEBIT_INLINE V load_i8(const std::int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
/// Weights 8 i … of a block of 32 nibbles: the low ones come first.
ONEBIT_INLINE V load_u4(const std::uint8_t* qs, int i) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(qs + i % 2 * 8));
  const __m128i nibbles = i < 2 ? bytes : _mm_srli_epi16(bytes, 4);
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_and_si128(nibbles, _mm_set1_epi8(15))));
}
ONEBIT_INLINE V max_magnitude(V a, V b) {
  const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(b), _mm256_set1_epi32(0x7FFFFFFF));
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), magnitude));
}
ONEBIT_INLINE std::uint32_t magnitude_bits(V v) {
  const __m256i bits = _mm256_castps_si256(v);
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}
/// 8 integers nearest to v, ties to even.
ONEBIT_INLINE void store_i8(std::int8_t* p, V v) {
  const __m256i integers = _mm256_cvtps_epi32(v);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}

ONEBIT_INLINE void store_f16(f16_bits* p, V v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "kernels/dense_inl.h"
#include "kernels/rows_inl.h"
//
#include "kernels/codes_avx2_inl.h"
//
#include "kernels/codes_words_inl.h"
//
#include "kernels/codes_inl.h"
//
#include "kernels/codes_gemv_inl.h"
//
#include "kernels/attention_inl.h"

constexpr std::int64_t kSignPanelRows = 32;
/// A vector is one byte of every row, in an order in which shifts of its 32-bit lanes give rows 0 …
/// 7, 8 … 15 and so on.
constexpr std::int64_t sign_byte(std::int64_t row, int j) {
  return j * kSignPanelRows + row % kLanes * 4 + row / kLanes;
}

#include "kernels/sign_panels_inl.h"
//
#include "kernels/sign_tables_avx2_inl.h"
//
#include "kernels/sign_bytes_inl.h"
//
#include "kernels/sign_gemm_inl.h"

using Int32s = __m256i;
using Bytes = __m256i;

ONEBIT_INLINE Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
ONEBIT_INLINE Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }

ONEBIT_INLINE Int32s sums_from(std::int32_t value) { return _mm256_set1_epi32(value); }
ONEBIT_INLINE __m256i broadcast_four(const std::int8_t* four) {
  std::int32_t q;
  __builtin_memcpy(&q, four, sizeof(q));
  return _mm256_set1_epi32(q);
}
ONEBIT_INLINE Int32s add_unsigned_fours(Int32s sums, Bytes w, const std::int8_t* four) {
  return add_products(sums, w, broadcast_four(four));
}
ONEBIT_INLINE Int32s add_fours(Int32s sums, Bytes w, const std::int8_t* four) {
  return add_signed_products(sums, w, broadcast_four(four));
}
ONEBIT_INLINE V to_floats(Int32s sums) { return _mm256_cvtepi32_ps(sums); }
ONEBIT_INLINE std::int32_t sum_of_block(const std::int8_t* q) {
  const __m256i sums = add_products(_mm256_setzero_si256(), _mm256_set1_epi8(1), load_bytes(q));
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

#include "kernels/dense_i8_inl.h"
