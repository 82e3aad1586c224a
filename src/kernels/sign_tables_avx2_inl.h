// Tables and tiles of S for AVX2; see sign_panels_inl.h. A vector holds one byte, eight columns, of
// 32 rows. Included by kernels_avx2.cc.

constexpr int kTileTokens8 = 1;
constexpr int kTileTokensF = 2;
/// Vectors of sums of a panel.
constexpr int kQuarters = 4;

ONEBIT_INLINE __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// ---- int8: a sum of four is 10 bits once 512 is added: six low ones and four high ones, looked up
// by vpshufb and added as bytes, then as 16-bit integers, while neither can overflow. y = Σ S q = Σ
// q - 2 Σ q[S = -1]. ----

/// A nibble's table: 16 bytes of low bits, then 16 of high ones.
constexpr std::int64_t kNibbleTable8 = 32;
constexpr std::int64_t kStepTable8 = 8 * kNibbleTable8;
constexpr std::int16_t kBias = 512;
constexpr int kLowBits = 6;
/// Low bits that a byte holds the sum of: 4 · 63 = 252. Half a step.
constexpr int kBytesPerLow = 2;
/// High bits, each at most 15: 16 nibbles, two steps.
constexpr int kStepsPerHigh = 2;
// 16-bit sums take 252 from each half of a step, at most 128 steps a block: 64512.
static_assert(kLongBlockCols / kStepCols * 2 * 252 <= 65535);

std::int32_t sum_q(const std::int8_t* q, std::int64_t n) {
  __m256i sums = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < n; i += 32) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), load_bytes(q + i));
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

void build_tables(const std::int8_t* q, std::int64_t steps, std::uint8_t* out) {
  const __m256i entry = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m256i member[4];  // all ones in the entries that hold q[k]
  for (int k = 0; k < 4; ++k) {
    const __m256i bit = _mm256_set1_epi16(static_cast<std::int16_t>(1 << k));
    member[k] = _mm256_cmpeq_epi16(_mm256_and_si256(entry, bit), bit);
  }
  for (std::int64_t nibble = 0; nibble < steps * 8; ++nibble) {
    __m256i sums = _mm256_set1_epi16(kBias);
    ONEBIT_UNROLL
    for (int k = 0; k < 4; ++k) {
      sums =
          _mm256_add_epi16(sums, _mm256_and_si256(member[k], _mm256_set1_epi16(q[nibble * 4 + k])));
    }
    const __m256i low = _mm256_and_si256(sums, _mm256_set1_epi16((1 << kLowBits) - 1));
    const __m256i both = _mm256_packus_epi16(low, _mm256_srli_epi16(sums, kLowBits));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + nibble * kNibbleTable8),
                       _mm256_permute4x64_epi64(both, 0xD8));
  }
}

/// 16-bit sums of 32 rows: of the even ones, of the odd ones.
struct Sums16 {
  __m256i even;
  __m256i odd;
  ONEBIT_INLINE void add(__m256i bytes) {
    even = _mm256_add_epi16(even, _mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)));
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
  }
  /// Of rows 8 k to 8 k + 7. Interleaved, the low half of a lane has the first eight of its 16
  /// rows.
  ONEBIT_INLINE __m256i rows(int k) const {
    const __m256i pairs =
        (k & 1) == 0 ? _mm256_unpacklo_epi16(even, odd) : _mm256_unpackhi_epi16(even, odd);
    return _mm256_cvtepu16_epi32(k < 2 ? _mm256_castsi256_si128(pairs)
                                       : _mm256_extracti128_si256(pairs, 1));
  }
};

ONEBIT_INLINE __m256i look_up(const std::uint8_t* table, __m256i index) {
  return _mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table))), index);
}

/// One block of a panel for a token: y[r] = total - 2 Σ q[S = -1], or what y holds instead of the
/// total if that is null.
template <int T>
void sign1_i8_tile(const PanelBlock& s, const std::uint8_t* tables, std::int64_t,
                   const std::int32_t* totals, std::int32_t* y, std::int64_t, PanelRows rows) {
  static_assert(T == 1);
  const __m256i low_nibble = _mm256_set1_epi8(15);
  Sums16 low_sums{_mm256_setzero_si256(), _mm256_setzero_si256()};
  Sums16 high_sums = low_sums;
  for (std::int64_t begin = 0; begin < s.steps; begin += kStepsPerHigh) {
    // Rows have an even number of steps.
    __m256i high = _mm256_setzero_si256();
    ONEBIT_UNROLL
    for (int i = 0; i < kStepsPerHigh; ++i) {
      s.prefetch(begin + i);
      const std::uint8_t* table = tables + (begin + i) * kStepTable8;
      const std::byte* bits = s.at(begin + i);
      ONEBIT_UNROLL
      for (int half = 0; half < 2; ++half) {
        __m256i low = _mm256_setzero_si256();
        ONEBIT_UNROLL
        for (int j = 0; j < kBytesPerLow; ++j) {
          const __m256i bytes = load_bytes(bits + (half * kBytesPerLow + j) * kSignPanelRows);
          const std::uint8_t* own = table + (half * kBytesPerLow + j) * 2 * kNibbleTable8;
          const __m256i a = _mm256_and_si256(bytes, low_nibble);
          const __m256i b = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_nibble);
          low = _mm256_add_epi8(low,
                                _mm256_add_epi8(look_up(own, a), look_up(own + kNibbleTable8, b)));
          high = _mm256_add_epi8(
              high, _mm256_add_epi8(look_up(own + 16, a), look_up(own + kNibbleTable8 + 16, b)));
        }
        low_sums.add(low);
      }
    }
    high_sums.add(high);
  }
  alignas(32) std::int32_t sums[kSignPanelRows];
  const __m256i bias = _mm256_set1_epi32(static_cast<std::int32_t>(s.steps) * 8 * kBias);
  const __m256i total = _mm256_set1_epi32(totals != nullptr ? totals[0] : 0);
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    const __m256i negative = _mm256_sub_epi32(
        _mm256_add_epi32(low_sums.rows(k), _mm256_slli_epi32(high_sums.rows(k), kLowBits)), bias);
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums + k * kLanes),
                       _mm256_sub_epi32(total, _mm256_add_epi32(negative, negative)));
  }
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    // As unsigned, which wraps: twice a sum may leave int32 though y does not.
    const auto before = totals != nullptr ? 0U : static_cast<std::uint32_t>(y[r]);
    y[r] = static_cast<std::int32_t>(before + static_cast<std::uint32_t>(sums[r]));
  }
}

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
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    const __m256i byte = _mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bits + j * kSignPanelRows + k * kLanes)));
    ONEBIT_UNROLL
    for (int third = 0; third < 3; ++third) {
      // vpermps looks at three bits of a lane and at no more.
      const __m256i index = _mm256_srli_epi32(byte, 3 * third);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const V entries = load(table + t * table_stride + third * kLanes);
        sums[t][k] = add(sums[t][k], _mm256_permutevar8x32_ps(entries, index));
      }
    }
  }
}

/// Sums of a panel that come from y and go back to it, but for rows that are not the tile's.
ONEBIT_INLINE void load_sums(const float* y, PanelRows rows, bool is_first, V (&sums)[kQuarters]) {
  alignas(32) float values[kSignPanelRows] = {};
  if (!is_first) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r) values[r] = y[r];
  }
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) sums[k] = load(values + k * kLanes);
}

ONEBIT_INLINE void store_sums(const V (&sums)[kQuarters], PanelRows rows, float* y) {
  alignas(32) float values[kSignPanelRows];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) store(values + k * kLanes, sums[k]);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) y[r] = values[r];
}

/// One block of a panel for T tokens, added to what y holds unless it is the first.
template <int T>
void sign1_f32_tile(const PanelBlock& s, const float* tables, std::int64_t table_stride,
                    bool is_first, float* y, std::int64_t ldy, PanelRows rows) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) load_sums(y + t * ldy, rows, is_first, sums[t]);
  for (std::int64_t step = 0; step < s.steps; ++step) {
    s.prefetch(step);
    ONEBIT_UNROLL
    for (int j = 0; j < 4; ++j) {
      add_byte(s.at(step), j, tables + step * kStepTableF, table_stride, sums);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) store_sums(sums[t], rows, y + t * ldy);
}

/// The same where every group of columns has a scale of its own: h points to this panel's scales of
/// the block's first group.
void grouped_tile(const PanelBlock& s, const float* table, const float* h, std::int64_t group_size,
                  bool is_first, float* y, PanelRows rows) {
  V sums[kQuarters];
  load_sums(y, rows, is_first, sums);
  const std::int64_t group_bytes = group_size / 8;
  const std::int64_t bytes = s.steps * 4;
  for (std::int64_t begin = 0; begin < bytes; begin += group_bytes, h += kSignPanelRows) {
    const std::int64_t end = bytes - begin < group_bytes ? bytes : begin + group_bytes;
    V part[1][kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) part[0][k] = zero();
    for (std::int64_t j = begin; j < end; ++j) {
      add_byte(s.p + j * kSignPanelRows, 0, table + j * kByteTableF, 0, part);
    }
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[k] = fma(part[0][k], load(h + k * kLanes), sums[k]);
  }
  store_sums(sums, rows, y);
}
