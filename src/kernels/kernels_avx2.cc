// Kernels for AVX2, FMA and F16C: Intel from Haswell, AMD from Excavator on.
#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <cstddef>
#include <immintrin.h>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("avx2,fma,f16c")
namespace onebit::kernels {

extern const KernelSet kernels_avx2;

namespace {

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
ONEBIT_INLINE V load_i32(const std::int32_t* p) {
  return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
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
/// ±1 of columns c …, c a multiple of 8: each lane shifts its bit to where a float has its sign.
ONEBIT_INLINE V load_signs(const std::uint64_t* row, std::int64_t c) {
  std::int32_t bits;
  __builtin_memcpy(&bits, reinterpret_cast<const unsigned char*>(row) + c / 32 * 4, sizeof(bits));
  const __m256i shift = _mm256_sub_epi32(_mm256_set1_epi32(31 - static_cast<int>(c & 31)),
                                         _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const __m256 shifted = _mm256_castsi256_ps(_mm256_sllv_epi32(_mm256_set1_epi32(bits), shift));
  return _mm256_or_ps(_mm256_and_ps(shifted, set1(-0.0F)), set1(1.0F));
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

#include "kernels/dense_inl.h"
#include "kernels/rows_inl.h"
#include "kernels/sign_rows_inl.h"

// ---- S and int8: Σ S q = Σ q - 2 Σ q[S = -1]; a row's bits make bytes 0 or 1, and vpmaddubsw adds
// pairs of products of unsigned by signed bytes to int16 ----

/// Steps of 32 columns whose pairs, each within ±2 · 127, an int16 holds: 128 · 254 = 32512.
constexpr std::int64_t kInt16Steps = 128;
/// Tokens that share a panel of decoded signs; their sums of q are kept on the stack.
constexpr std::int64_t kSharedTokens = 96;

ONEBIT_INLINE __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

/// at(i): bytes 0 or 1 of columns 32 i ….
struct SignBits {
  const std::uint64_t* p;
  ONEBIT_INLINE __m256i at(std::int64_t i) const {
    std::int32_t bits;
    __builtin_memcpy(&bits, reinterpret_cast<const unsigned char*>(p) + i * 4, sizeof(bits));
    const __m256i spread =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread);
    const __m256i each = _mm256_set1_epi64x(static_cast<std::int64_t>(0x8040201008040201));
    return _mm256_min_epu8(_mm256_and_si256(bytes, each), _mm256_set1_epi8(1));
  }
};

struct SignBytes {
  const std::uint8_t* p;
  ONEBIT_INLINE __m256i at(std::int64_t i) const { return load_bytes(p + 32 * i); }
};

ONEBIT_INLINE __m256i widen(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

ONEBIT_INLINE __m128i reduce4(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_hadd_epi32(a, b);
  const __m256i cd = _mm256_hadd_epi32(c, d);
  const __m256i all = _mm256_hadd_epi32(ab, cd);
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

ONEBIT_INLINE std::int32_t sum_q(const std::int8_t* q, std::int64_t steps) {
  __m256i sums = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < steps; ++i) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), load_bytes(q + 32 * i));
    sums = _mm256_add_epi32(sums, widen(pairs));
  }
  const __m128i four = reduce4(sums, sums, sums, sums);
  return _mm_cvtsi128_si32(four);
}

/// out = base - 2 Σ q[t, S[r] = -1] over `steps` steps for 4 rows, of which the first `valid` are
/// written to y[t · ldy + r], and T tokens. base is totals[t], or what y holds if totals is null.
template <int T, class Row>
void sign1_i8_tile(const Row* row_pointers, std::int64_t steps, const std::int8_t* q,
                   std::int64_t ldq, const std::int32_t* totals, std::int32_t* y, std::int64_t ldy,
                   std::int64_t valid) {
  Row rows[4];
  ONEBIT_UNROLL
  for (int r = 0; r < 4; ++r) rows[r] = row_pointers[r];
  __m256i sums[T][4];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < 4; ++r) sums[t][r] = _mm256_setzero_si256();
  }
  for (std::int64_t begin = 0; begin < steps; begin += kInt16Steps) {
    const std::int64_t end = steps - begin < kInt16Steps ? steps : begin + kInt16Steps;
    __m256i pairs[T][4];
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int r = 0; r < 4; ++r) pairs[t][r] = _mm256_setzero_si256();
    }
    for (std::int64_t i = begin; i < end; ++i) {
      __m256i qt[T];
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) qt[t] = load_bytes(q + t * ldq + 32 * i);
      ONEBIT_UNROLL
      for (int r = 0; r < 4; ++r) {
        const __m256i s = rows[r].at(i);
        ONEBIT_UNROLL
        for (int t = 0; t < T; ++t) {
          pairs[t][r] = _mm256_add_epi16(pairs[t][r], _mm256_maddubs_epi16(s, qt[t]));
        }
      }
    }
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int r = 0; r < 4; ++r) sums[t][r] = _mm256_add_epi32(sums[t][r], widen(pairs[t][r]));
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    const __m128i negative = reduce4(sums[t][0], sums[t][1], sums[t][2], sums[t][3]);
    std::int32_t* out = y + t * ldy;
    alignas(16) std::int32_t base[4] = {};
    for (int r = 0; r < valid; ++r) base[r] = totals != nullptr ? totals[t] : out[r];
    // As vectors, which wrap: twice a sum, or a part of it, may leave int32 though y does not.
    const __m128i sums_of_s = _mm_sub_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(base)),
                                            _mm_add_epi32(negative, negative));
    _mm_store_si128(reinterpret_cast<__m128i*>(base), sums_of_s);
    for (int r = 0; r < valid; ++r) out[r] = base[r];
  }
}

/// sign1_i8_tile for tokens <= T.
template <int T, class Row>
void sign1_i8_tokens(const Row* rows, std::int64_t steps, const std::int8_t* q, std::int64_t ldq,
                     std::int64_t tokens, const std::int32_t* totals, std::int32_t* y,
                     std::int64_t ldy, std::int64_t valid) {
  if constexpr (T > 1) {
    if (tokens < T) {
      sign1_i8_tokens<T - 1>(rows, steps, q, ldq, tokens, totals, y, ldy, valid);
      return;
    }
  }
  sign1_i8_tile<T>(rows, steps, q, ldq, totals, y, ldy, valid);
}

/// Few tokens: signs are decoded in registers.
template <int T>
void sign1_i8_direct(const PackedSigns& s, const std::int8_t* q, std::int64_t ldq, std::int32_t* y,
                     std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) {
  const std::int64_t words = formats::sign1_row_words(s.cols);
  std::int32_t totals[T];
  for (int t = 0; t < T; ++t) totals[t] = sum_q(q + t * ldq, 2 * words);
  for (std::int64_t r = row_begin; r < row_end; r += 4) {
    const std::int64_t valid = row_end - r < 4 ? row_end - r : 4;
    SignBits rows[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      rows[i] = {words_of(s) + (r + (i < valid ? i : valid - 1)) * words};
    }
    sign1_i8_tile<T>(rows, 2 * words, q, ldq, totals, y + r, ldy, valid);
  }
}

/// Up to kSharedTokens tokens: the signs of four rows are decoded to bytes once.
void sign1_i8_shared(const PackedSigns& s, const std::int8_t* q, std::int64_t ldq,
                     std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                     std::int64_t row_end) {
  alignas(64) std::uint8_t panel[4][kInt16Steps * 32];
  std::int32_t totals[kSharedTokens];
  const std::int64_t words = formats::sign1_row_words(s.cols);
  for (std::int64_t t = 0; t < tokens; ++t) totals[t] = sum_q(q + t * ldq, 2 * words);
  for (std::int64_t k = 0; k < 2 * words; k += kInt16Steps) {
    const std::int64_t steps = 2 * words - k < kInt16Steps ? 2 * words - k : kInt16Steps;
    for (std::int64_t r = row_begin; r < row_end; r += 4) {
      const std::int64_t valid = row_end - r < 4 ? row_end - r : 4;
      SignBytes rows[4];
      for (std::int64_t i = 0; i < 4; ++i) {
        rows[i] = {panel[i]};
        const SignBits bits{words_of(s) + (r + (i < valid ? i : valid - 1)) * words + k / 2};
        for (std::int64_t step = 0; step < steps; ++step) {
          _mm256_store_si256(reinterpret_cast<__m256i*>(panel[i] + 32 * step), bits.at(step));
        }
      }
      for (std::int64_t t = 0; t < tokens; t += kTileTokens) {
        const std::int64_t count = tokens - t < kTileTokens ? tokens - t : kTileTokens;
        sign1_i8_tokens<kTileTokens>(rows, steps, q + t * ldq + 32 * k, ldq, count,
                                     k == 0 ? totals + t : nullptr, y + t * ldy + r, ldy, valid);
      }
    }
  }
}

void gemv_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int32_t* y,
                   std::int64_t row_begin, std::int64_t row_end) noexcept {
  sign1_i8_direct<1>(s, q, 0, y, 0, row_begin, row_end);
}

void gemm_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int64_t ldq,
                   std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  if (tokens == 1) {
    gemv_sign1_i8(s, q, y, row_begin, row_end);
  } else if (tokens == 2) {
    sign1_i8_direct<2>(s, q, ldq, y, ldy, row_begin, row_end);
  } else {
    for (std::int64_t t = 0; t < tokens; t += kSharedTokens) {
      const std::int64_t count = tokens - t < kSharedTokens ? tokens - t : kSharedTokens;
      sign1_i8_shared(s, q + t * ldq, ldq, count, y + t * ldy, ldy, row_begin, row_end);
    }
  }
}

}  // namespace

constexpr KernelSet kernels_avx2 = {
    .name = "avx2",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
