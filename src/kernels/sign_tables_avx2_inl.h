// Tables of S for AVX2; see sign_panels_inl.h, and sign_bytes_inl.h for the tiles. A vector holds
// one byte, eight columns, of 32 rows. Included by avx2_inl.h.

constexpr int kTileTokens8 = 1;
constexpr int kTileTokensF = 2;
/// Vectors of sums of a panel.
constexpr int kQuarters = 4;
static_assert(kQuarters * kLanes == kSignPanelRows);

ONEBIT_INLINE __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// ---- int8: minus the sum of four ± q is 10 bits once 512 is added: six low ones and four high
// ones, looked up by vpshufb and added as bytes, then as 16-bit integers, which hold a block's.
// ----

/// A nibble's table: 16 bytes of low bits, then 16 of high ones.
constexpr std::int64_t kNibbleTable8 = 32;
constexpr std::int64_t kStepTable8 = 8 * kNibbleTable8;
constexpr std::int16_t kBias = 512;
constexpr int kLowBits = 6;
constexpr int kHighBits = 10 - kLowBits;

void build_tables(const std::int8_t* q, std::int64_t steps, std::uint8_t* out) {
  const __m256i entry = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m256i sign[4];  // of q[k] in minus the sum: 1 in the entries that negate it, else -1
  for (int k = 0; k < 4; ++k) {
    const __m256i bit = _mm256_set1_epi16(static_cast<std::int16_t>(1 << k));
    const __m256i negates = _mm256_cmpeq_epi16(_mm256_and_si256(entry, bit), bit);
    sign[k] = _mm256_sub_epi16(_mm256_set1_epi16(-1), _mm256_add_epi16(negates, negates));
  }
  for (std::int64_t nibble = 0; nibble < steps * 8; ++nibble) {
    __m256i sums = _mm256_set1_epi16(kBias);
    ONEBIT_UNROLL
    for (int k = 0; k < 4; ++k) {
      sums =
          _mm256_add_epi16(sums, _mm256_sign_epi16(_mm256_set1_epi16(q[nibble * 4 + k]), sign[k]));
    }
    const __m256i low = _mm256_and_si256(sums, _mm256_set1_epi16((1 << kLowBits) - 1));
    const __m256i both = _mm256_packus_epi16(low, _mm256_srli_epi16(sums, kLowBits));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + nibble * kNibbleTable8),
                       _mm256_permute4x64_epi64(both, 0xD8));
  }
}

ONEBIT_INLINE __m256i look_up(const std::uint8_t* table, __m256i index) {
  return _mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))), index);
}

using Bytes = __m256i;
ONEBIT_INLINE Bytes no_bytes() { return _mm256_setzero_si256(); }
ONEBIT_INLINE Bytes add_bytes(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }

/// Low and high bits of half a step, two bytes of 32 rows, added up.
template <int T>
struct HalfStep {
  Bytes low[T];
  Bytes high[T];
  ONEBIT_INLINE HalfStep(const std::byte* bits, const std::uint8_t* tables, std::int64_t stride) {
    const __m256i nibble = _mm256_set1_epi8(15);
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) low[t] = high[t] = no_bytes();
    ONEBIT_UNROLL
    for (int j = 0; j < 2; ++j) {
      const __m256i bytes = load_bytes(bits + j * kSignPanelRows);
      const __m256i a = _mm256_and_si256(bytes, nibble);
      const __m256i b = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const std::uint8_t* own = tables + t * stride + j * 2 * kNibbleTable8;
        low[t] = add_bytes(low[t], add_bytes(look_up(own, a), look_up(own + kNibbleTable8, b)));
        high[t] = add_bytes(high[t],
                            add_bytes(look_up(own + 16, a), look_up(own + kNibbleTable8 + 16, b)));
      }
    }
  }
};

/// 16-bit sums of 32 rows: of those of the even bytes, of the odd ones.
struct Sums16 {
  __m256i even;
  __m256i odd;
  ONEBIT_INLINE Sums16() : even(_mm256_setzero_si256()), odd(_mm256_setzero_si256()) {}
  ONEBIT_INLINE void add_low(__m256i bytes) {
    even = _mm256_add_epi16(even, _mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)));
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
  }
  ONEBIT_INLINE void add_high(__m256i bytes) {
    const __m256i upper = _mm256_and_si256(bytes, _mm256_set1_epi16(static_cast<short>(0xFF00)));
    even = _mm256_add_epi16(even, _mm256_slli_epi16(_mm256_andnot_si256(upper, bytes), kLowBits));
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(upper, 8 - kLowBits));
  }
  /// Σ ± q of rows 8 k to 8 k + 7 over `nibbles`.
  ONEBIT_INLINE V dots(std::int64_t nibbles, int k) const {
    const __m256i bias = _mm256_set1_epi16(static_cast<std::int16_t>(nibbles * kBias));
    const __m256i two = _mm256_sub_epi16(bias, k % 2 == 0 ? even : odd);
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(k < 2 ? _mm256_slli_epi32(two, 16) : two, 16));
  }
};

// ---- f32: a byte's eight columns as three, three and two, each the index into eight sums, which
// is what vpermps looks up ----

constexpr std::int64_t kByteTableF = 3 * kLanes;
constexpr std::int64_t kStepTableF = 4 * kByteTableF;

/// Of columns [0, n), with zeros beyond.
void build_tables(const float* x, std::int64_t n, std::int64_t steps, float* out) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256 sign[3];  // of x_k in the entries where bit k is set
  for (int k = 0; k < 3; ++k) {
    sign[k] = _mm256_castsi256_ps(_mm256_and_si256(
        _mm256_slli_epi32(lane, 31 - k), _mm256_set1_epi32(static_cast<int>(0x80000000U))));
  }
  for (std::int64_t c = 0; c < steps * kStepCols; c += 8) {
    float eight[9] = {};
    for (std::int64_t k = 0; k < 8 && c + k < n; ++k) eight[k] = x[c + k];
    ONEBIT_UNROLL
    for (int third = 0; third < 3; ++third) {
      const float* three = eight + third * 3;
      const auto signed_by = [&](int k) { return _mm256_xor_ps(set1(three[k]), sign[k]); };
      store(out + c / 8 * kByteTableF + third * kLanes,
            add(add(signed_by(0), signed_by(1)), signed_by(2)));
    }
  }
}

/// sums[t][k] += what byte j of a step adds to y.
template <int T>
ONEBIT_INLINE void add_byte(const std::byte* bits, int j, const float* tables,
                            std::int64_t table_stride, V (&sums)[T][kQuarters]) {
  const float* table = tables + j * kByteTableF;
  const __m256i bytes = load_bytes(bits + j * kSignPanelRows);
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    ONEBIT_UNROLL
    for (int third = 0; third < 3; ++third) {
      // vpermps looks at three bits of a lane and at no more. The last third has two columns: its
      // third bit, another row's, chooses between entries that are equal but for a zero's sign.
      const __m256i index = _mm256_srli_epi32(bytes, 8 * k + 3 * third);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const V entries = load(table + t * table_stride + third * kLanes);
        sums[t][k] = add(sums[t][k], _mm256_permutevar8x32_ps(entries, index));
      }
    }
  }
}
