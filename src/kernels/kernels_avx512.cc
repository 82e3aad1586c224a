// Kernels for AVX-512 F, BW, VL, DQ and VNNI: Intel from Ice Lake, AMD from Zen 4 on.
#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <cstddef>
#include <immintrin.h>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
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
/// ±1 of columns c …, c a multiple of 16.
ONEBIT_INLINE V load_signs(const std::uint64_t* row, std::int64_t c) {
  std::uint16_t bits;
  __builtin_memcpy(&bits, reinterpret_cast<const unsigned char*>(row) + c / 8, sizeof(bits));
  return _mm512_mask_blend_ps(_cvtu32_mask16(bits), set1(1.0F), set1(-1.0F));
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

#include "kernels/dense_inl.h"
#include "kernels/rows_inl.h"

// ---- S and int8: Σ S q = Σ q - 2 Σ q[S = -1]; vpdpbusd adds four products of unsigned by signed
// bytes to an int32, exactly, and a row's bits make a vector of bytes 0 or 1 ----

/// Sums under way. The type spares g++ 12 a conversion to __m512i in each turn of a loop, which
/// costs it copies and spills of every sum.
using Int32x16 = std::int32_t __attribute__((vector_size(64)));

ONEBIT_INLINE Int32x16 add_products(Int32x16 sums, __m512i bytes, __m512i q) {
  return reinterpret_cast<Int32x16>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums), bytes, q));
}

ONEBIT_INLINE __m512i load_q(const std::int8_t* q) { return _mm512_loadu_si512(q); }

ONEBIT_INLINE __m512i sign_bytes(std::uint64_t word) {
  return _mm512_maskz_mov_epi8(_cvtu64_mask64(word), _mm512_set1_epi8(1));
}

ONEBIT_INLINE __m128i reduce4(Int32x16 sum_a, Int32x16 sum_b, Int32x16 sum_c, Int32x16 sum_d) {
  const __m512i a = reinterpret_cast<__m512i>(sum_a);
  const __m512i b = reinterpret_cast<__m512i>(sum_b);
  const __m512i c = reinterpret_cast<__m512i>(sum_c);
  const __m512i d = reinterpret_cast<__m512i>(sum_d);
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i all =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

ONEBIT_INLINE std::int32_t sum_q(const std::int8_t* q, std::int64_t words) {
  Int32x16 sums = {};
  for (std::int64_t i = 0; i < words; ++i) {
    sums = add_products(sums, _mm512_set1_epi8(1), load_q(q + 64 * i));
  }
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(sums));
}

/// y[t · ldy + r] = totals[t] - 2 Σ q[t, S[r] = -1] for R rows, of which the first `valid` are
/// written, and T tokens.
template <int R, int T>
void sign1_i8_tile(const std::uint64_t* const* row_pointers, std::int64_t words,
                   const std::int8_t* q, std::int64_t ldq, const std::int32_t* totals,
                   std::int32_t* y, std::int64_t ldy, std::int64_t valid) {
  const std::uint64_t* rows[R];
  ONEBIT_UNROLL
  for (int r = 0; r < R; ++r) rows[r] = row_pointers[r];
  Int32x16 sums[T][R];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < R; ++r) sums[t][r] = Int32x16{};
  }
  for (std::int64_t i = 0; i < words; ++i) {
    __m512i s[R];
    ONEBIT_UNROLL
    for (int r = 0; r < R; ++r) s[r] = sign_bytes(rows[r][i]);
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const __m512i qt = load_q(q + t * ldq + 64 * i);
      ONEBIT_UNROLL
      for (int r = 0; r < R; ++r) sums[t][r] = add_products(sums[t][r], s[r], qt);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < R; r += 4) {
      const __m128i negative = reduce4(sums[t][r], sums[t][r + 1], sums[t][r + 2], sums[t][r + 3]);
      const __m128i four =
          _mm_sub_epi32(_mm_set1_epi32(totals[t]), _mm_add_epi32(negative, negative));
      std::int32_t* out = y + t * ldy + r;
      if (r + 4 <= valid) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), four);
      } else {
        alignas(16) std::int32_t values[4];
        _mm_store_si128(reinterpret_cast<__m128i*>(values), four);
        for (int i = 0; r + i < valid; ++i) out[i] = values[i];
      }
    }
  }
}

template <int R, int T>
void sign1_i8_rows(const formats::Sign1View& s, const std::int8_t* q, std::int64_t ldq,
                   std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) {
  const std::int64_t words = formats::sign1_row_words(s.cols);
  std::int32_t totals[T];
  for (int t = 0; t < T; ++t) totals[t] = sum_q(q + t * ldq, words);
  for (std::int64_t r = row_begin; r < row_end; r += R) {
    const std::int64_t valid = row_end - r < R ? row_end - r : R;
    const std::uint64_t* rows[R];
    for (std::int64_t i = 0; i < R; ++i) {
      rows[i] = s.words + (r + (i < valid ? i : valid - 1)) * words;
    }
    sign1_i8_tile<R, T>(rows, words, q, ldq, totals, y + r, ldy, valid);
  }
}

/// tokens <= T.
template <int T>
void sign1_i8_tokens(const formats::Sign1View& s, const std::int8_t* q, std::int64_t ldq,
                     std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                     std::int64_t row_end) {
  if constexpr (T == 1) {
    sign1_i8_rows<8, 1>(s, q, ldq, y, ldy, row_begin, row_end);
  } else if (tokens == T) {
    sign1_i8_rows<4, T>(s, q, ldq, y, ldy, row_begin, row_end);
  } else {
    sign1_i8_tokens<T - 1>(s, q, ldq, tokens, y, ldy, row_begin, row_end);
  }
}

void gemm_sign1_i8(const formats::Sign1View& s, const std::int8_t* q, std::int64_t ldq,
                   std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  for (std::int64_t t = 0; t < tokens; t += kTileTokens) {
    const std::int64_t count = tokens - t < kTileTokens ? tokens - t : kTileTokens;
    sign1_i8_tokens<kTileTokens>(s, q + t * ldq, ldq, count, y + t * ldy, ldy, row_begin, row_end);
  }
}

void gemv_sign1_i8(const formats::Sign1View& s, const std::int8_t* q, std::int32_t* y,
                   std::int64_t row_begin, std::int64_t row_end) noexcept {
  sign1_i8_rows<8, 1>(s, q, 0, y, 0, row_begin, row_end);
}

}  // namespace

constexpr KernelSet kernels_avx512 = {
    .name = "avx512",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
