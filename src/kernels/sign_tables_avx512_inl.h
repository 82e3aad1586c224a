// Tables and tiles of S for AVX-512 with VBMI; see sign_panels_inl.h. A vector holds a step of 16
// rows, byte j of each dword columns 8 j to 8 j + 7. Included by kernels_avx512.cc.

/// Vectors of a panel.
constexpr int kQuarters = 4;
constexpr int kTileTokens8 = 2;
constexpr int kTileTokensF = 4;

ONEBIT_INLINE __m512i bits_at(const PanelBlock& s, std::int64_t step, int quarter) {
  return _mm512_loadu_si512(s.at(step) + quarter * 64);
}

/// The rows of a panel's vector that a tile writes.
ONEBIT_INLINE __mmask16 rows_inside(int quarter, PanelRows rows) {
  const std::int64_t from = rows.begin - quarter * kLanes;
  const std::int64_t end = rows.end - quarter * kLanes;
  const auto below = [](std::int64_t n) {
    return n <= 0 ? 0U : n >= kLanes ? 0xFFFFU : (1U << n) - 1;
  };
  return static_cast<__mmask16>(below(end) & ~below(from));
}

// ---- int8: a sum of four is 10 bits, looked up as two bytes, low and high + 2; vpdpbusd adds the
// low bytes of a row's four nibbles exactly, the high ones are added as bytes while they cannot
// overflow. y = Σ S q = Σ q - 2 Σ q[S = -1]. ----

/// Of a step: low and high bytes of the tables of the low nibbles (columns 0-3, 8-11, …), then of
/// the high ones (4-7, 12-15, …).
constexpr std::int64_t kStepTable8 = 4 * 64;
/// Steps whose high bytes, at most 3 a nibble and two nibbles a step, a byte holds.
constexpr std::int64_t kByteSteps = 32;
/// Twice the bias of a nibble's sum: 2 in its high byte.
constexpr std::int32_t kBias = 512;
constexpr std::int32_t kBiasOfStep = 8 * kBias;

/// Sums under way. The type spares g++ 12 a conversion to __m512i in each turn of a loop, which
/// costs it copies and spills of every sum.
using Int32x16 = std::int32_t __attribute__((vector_size(64)));
using Uint8x64 = std::uint8_t __attribute__((vector_size(64)));

ONEBIT_INLINE Int32x16 add_products(Int32x16 sums, __m512i bytes, __m512i q) {
  return reinterpret_cast<Int32x16>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums), bytes, q));
}

ONEBIT_INLINE __m512i load_table(const std::uint8_t* p) { return _mm512_load_si512(p); }

std::int32_t sum_q(const std::int8_t* q, std::int64_t n) {
  Int32x16 sums = {};
  for (std::int64_t i = 0; i < n; i += 64) {
    sums = add_products(sums, _mm512_set1_epi8(1), _mm512_loadu_si512(q + i));
  }
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(sums));
}

/// The 16 sums of q[0..3], biased, as dwords.
ONEBIT_INLINE __m512i sums_of_four(const std::int8_t* q) {
  std::int32_t four;
  __builtin_memcpy(&four, q, sizeof(four));
  const __m512i members = _mm512_set_epi32(0x01010101, 0x01010100, 0x01010001, 0x01010000,  //
                                           0x01000101, 0x01000100, 0x01000001, 0x01000000,  //
                                           0x00010101, 0x00010100, 0x00010001, 0x00010000,  //
                                           0x00000101, 0x00000100, 0x00000001, 0x00000000);
  return _mm512_dpbusd_epi32(_mm512_set1_epi32(kBias), members, _mm512_set1_epi32(four));
}

void build_tables(const std::int8_t* q, std::int64_t steps, std::uint8_t* out) {
  // Bytes 0 of both operands' dwords, then bytes 1 of both.
  const __m512i split =
      _mm512_set_epi32(0x7D797571, 0x6D696561, 0x5D595551, 0x4D494541, 0x3D393531, 0x2D292521,
                       0x1D191511, 0x0D090501, 0x7C787470, 0x6C686460, 0x5C585450, 0x4C484440,
                       0x3C383430, 0x2C282420, 0x1C181410, 0x0C080400);
  for (std::int64_t step = 0; step < steps; ++step) {
    ONEBIT_UNROLL
    for (int nibble = 0; nibble < 2; ++nibble) {
      const std::int8_t* first = q + step * kStepCols + nibble * 4;
      const __m512i ab =
          _mm512_permutex2var_epi8(sums_of_four(first), split, sums_of_four(first + 8));
      const __m512i cd =
          _mm512_permutex2var_epi8(sums_of_four(first + 16), split, sums_of_four(first + 24));
      std::uint8_t* table = out + step * kStepTable8 + nibble * 128;
      _mm512_store_si512(table, _mm512_shuffle_i64x2(ab, cd, 0x44));
      _mm512_store_si512(table + 64, _mm512_shuffle_i64x2(ab, cd, 0xEE));
    }
  }
}

/// One block of a panel for T tokens: y[t · ldy + r] = totals[t] - 2 Σ q[S = -1] for the rows in
/// the masks, or what y holds instead of the totals if those are null.
template <int T>
void sign1_i8_tile(const PanelBlock& s, const std::uint8_t* tables, std::int64_t table_stride,
                   const std::int32_t* totals, std::int32_t* y, std::int64_t ldy, PanelRows rows) {
  const __m512i low_nibble = _mm512_set1_epi8(15);
  const __m512i which = _mm512_set1_epi32(0x30201000);  // byte j looks into table j
  Int32x16 sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[t][k] = Int32x16{};
  }
  for (std::int64_t begin = 0; begin < s.steps; begin += kByteSteps) {
    const std::int64_t end = s.steps - begin < kByteSteps ? s.steps : begin + kByteSteps;
    Uint8x64 high[T][kQuarters];
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) high[t][k] = Uint8x64{};
    }
    for (std::int64_t step = begin; step < end; ++step) {
      s.prefetch(step);
      const std::uint8_t* table = tables + step * kStepTable8;
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const __m512i bits = bits_at(s, step, k);
        // (bits & low_nibble) | which
        const __m512i a = _mm512_ternarylogic_epi32(bits, low_nibble, which, 0xEA);
        const __m512i b =
            _mm512_ternarylogic_epi32(_mm512_srli_epi32(bits, 4), low_nibble, which, 0xEA);
        ONEBIT_UNROLL
        for (int t = 0; t < T; ++t) {
          const std::uint8_t* own = table + t * table_stride;
          const __m512i ones = _mm512_set1_epi8(1);
          sums[t][k] = add_products(sums[t][k], _mm512_permutexvar_epi8(a, load_table(own)), ones);
          sums[t][k] =
              add_products(sums[t][k], _mm512_permutexvar_epi8(b, load_table(own + 128)), ones);
          high[t][k] +=
              reinterpret_cast<Uint8x64>(_mm512_permutexvar_epi8(a, load_table(own + 64))) +
              reinterpret_cast<Uint8x64>(_mm512_permutexvar_epi8(b, load_table(own + 192)));
        }
      }
    }
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const Int32x16 words =
            add_products(Int32x16{}, reinterpret_cast<__m512i>(high[t][k]), _mm512_set1_epi8(1));
        sums[t][k] += words << 8;
      }
    }
  }
  const __m512i bias = _mm512_set1_epi32(static_cast<std::int32_t>(s.steps) * kBiasOfStep);
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      std::int32_t* to = y + t * ldy + k * kLanes;
      const __m512i before = totals != nullptr ? _mm512_set1_epi32(totals[t])
                                               : _mm512_maskz_loadu_epi32(rows_inside(k, rows), to);
      // Twice a sum may leave int32 though y does not: these wrap.
      const __m512i negative = _mm512_sub_epi32(reinterpret_cast<__m512i>(sums[t][k]), bias);
      _mm512_mask_storeu_epi32(to, rows_inside(k, rows),
                               _mm512_sub_epi32(before, _mm512_add_epi32(negative, negative)));
    }
  }
}

// ---- f32: tables of the 16 sums ± x0 ± x1 ± x2 ± x3 as floats ----

/// Of a step: eight tables of 16 floats, columns 0-3 first.
constexpr std::int64_t kStepTableF = 8 * kLanes;

/// Of columns [0, n), with zeros beyond.
void build_tables(const float* x, std::int64_t n, std::int64_t steps, float* out) {
  // Lane i holds the sign of x_k where bit k of i is set.
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const auto signed_by = [&](float v, int k) {
    const __m512i sign = _mm512_and_si512(_mm512_slli_epi32(lanes, 31 - static_cast<unsigned>(k)),
                                          _mm512_set1_epi32(static_cast<int>(0x80000000U)));
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(set1(v)), sign));
  };
  for (std::int64_t c = 0; c < steps * kStepCols; c += 4) {
    float four[4];
    for (std::int64_t k = 0; k < 4; ++k) four[k] = c + k < n ? x[c + k] : 0.0F;
    store(out + c * 4, add(add(signed_by(four[0], 0), signed_by(four[1], 1)),
                           add(signed_by(four[2], 2), signed_by(four[3], 3))));
  }
}

/// sums[t][k] += what nibbles [from, to) of a step add to y.
template <int T>
ONEBIT_INLINE void add_nibbles(const __m512i (&bits)[kQuarters], const float* tables,
                               std::int64_t table_stride, int from, int to,
                               V (&sums)[T][kQuarters]) {
  ONEBIT_UNROLL
  for (int nibble = from; nibble < to; ++nibble) {
    V table[T];
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) table[t] = load(tables + t * table_stride + nibble * kLanes);
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      // vpermps looks at four bits of a lane and at no more.
      const __m512i index = _mm512_srli_epi32(bits[k], static_cast<unsigned>(4 * nibble));
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        sums[t][k] = add(sums[t][k], _mm512_permutexvar_ps(index, table[t]));
      }
    }
  }
}

/// One block of a panel for T tokens, added to what y holds unless it is the first.
template <int T>
void sign1_f32_tile(const PanelBlock& s, const float* tables, std::int64_t table_stride,
                    bool is_first, float* y, std::int64_t ldy, PanelRows rows) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      sums[t][k] =
          is_first ? zero() : _mm512_maskz_loadu_ps(rows_inside(k, rows), y + t * ldy + k * kLanes);
    }
  }
  for (std::int64_t step = 0; step < s.steps; ++step) {
    s.prefetch(step);
    __m512i bits[kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) bits[k] = bits_at(s, step, k);
    add_nibbles(bits, tables + step * kStepTableF, table_stride, 0, 8, sums);
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      _mm512_mask_storeu_ps(y + t * ldy + k * kLanes, rows_inside(k, rows), sums[t][k]);
    }
  }
}

/// The same where every group of columns has a scale of its own: h points to this panel's scales of
/// the block's first group.
void grouped_tile(const PanelBlock& s, const float* table, const float* h, std::int64_t group_size,
                  bool is_first, float* y, PanelRows rows) {
  V sums[kQuarters];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    sums[k] = is_first ? zero() : _mm512_maskz_loadu_ps(rows_inside(k, rows), y + k * kLanes);
  }
  V part[1][kQuarters];
  const auto begin_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) part[0][k] = zero();
  };
  const auto end_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[k] = fma(part[0][k], load(h + k * kLanes), sums[k]);
    h += kSignPanelRows;
  };
  const std::int64_t group_steps = group_size < kStepCols ? 1 : group_size / kStepCols;
  for (std::int64_t step = 0; step < s.steps; step += group_steps) {
    const std::int64_t end = s.steps - step < group_steps ? s.steps : step + group_steps;
    begin_group();
    for (std::int64_t i = step; i < end; ++i) {
      s.prefetch(i);
      __m512i bits[kQuarters];
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) bits[k] = bits_at(s, i, k);
      add_nibbles(bits, table + i * kStepTableF, 0, 0, 4, part);
      if (group_size < kStepCols) {
        end_group();
        begin_group();
      }
      add_nibbles(bits, table + i * kStepTableF, 0, 4, 8, part);
    }
    end_group();
  }
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    _mm512_mask_storeu_ps(y + k * kLanes, rows_inside(k, rows), sums[k]);
  }
}
