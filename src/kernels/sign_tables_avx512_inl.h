// Tables and tiles of S for AVX-512 with VBMI; see sign_panels_inl.h. A vector holds a step of 16
// rows, byte j of each dword columns 8 j to 8 j + 7. Included by kernels_avx512.cc.

/// Vectors of a panel.
constexpr int kQuarters = 4;
constexpr int kTileTokens8 = 2;
constexpr int kTileTokensF = 2;

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

/// What a tile writes of a vector of a panel: y = sums, or sums ⊙ h.
ONEBIT_INLINE void put_sums(const TileOutput& out, int t, int quarter, V sums) {
  const __mmask16 inside = rows_inside(quarter, out.rows);
  if (out.h != nullptr) sums = mul(sums, _mm512_maskz_loadu_ps(inside, out.h + quarter * kLanes));
  _mm512_mask_storeu_ps(out.y + t * out.ldy + quarter * kLanes, inside, sums);
}

/// What earlier blocks of columns have left in y.
ONEBIT_INLINE V sums_before(const TileOutput& out, int t, int quarter) {
  return out.is_first ? zero()
                      : _mm512_maskz_loadu_ps(rows_inside(quarter, out.rows),
                                              out.y + t * out.ldy + quarter * kLanes);
}

// ---- int8: minus the sum of four ± q, with 512 added, is 10 bits, looked up as two bytes: seven
// low bits and three high ones. vpdpbusd subtracts the low bytes of a row's four nibbles from its
// sum; the high ones are added as bytes, which hold a block's, and subtracted 128 times at its end.

/// Of a step: low and high bytes of the tables of the low nibbles (columns 0-3, 8-11, …), then of
/// the high ones (4-7, 12-15, …).
constexpr std::int64_t kStepTable8 = 4 * 64;
constexpr std::int32_t kBias = 512;
constexpr int kLowBits = 7;
// High bytes, at most 7 a nibble and two nibbles a step.
static_assert(kBlockSteps * 2 * 7 <= 255);

/// Sums under way. The type spares g++ 12 a conversion to __m512i in each turn of a loop, which
/// costs it copies and spills of every sum.
using Int32x16 = std::int32_t __attribute__((vector_size(64)));
using Uint8x64 = std::uint8_t __attribute__((vector_size(64)));

ONEBIT_INLINE Int32x16 add_products(Int32x16 sums, __m512i bytes, __m512i q) {
  return reinterpret_cast<Int32x16>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums), bytes, q));
}

ONEBIT_INLINE __m512i load_table(const std::uint8_t* p) { return _mm512_load_si512(p); }

/// 512 - Σ ± q[k] for the 16 choices of signs, as dwords whose byte 0 holds seven bits and whose
/// byte 1 the other three.
ONEBIT_INLINE __m512i sums_of_four(const std::int8_t* q) {
  std::uint32_t four;
  __builtin_memcpy(&four, q, sizeof(four));
  const __m512i negative = _mm512_set_epi32(0x01010101, 0x01010100, 0x01010001, 0x01010000,  //
                                            0x01000101, 0x01000100, 0x01000001, 0x01000000,  //
                                            0x00010101, 0x00010100, 0x00010001, 0x00010000,  //
                                            0x00000101, 0x00000100, 0x00000001, 0x00000000);
  const __m512i sign =  // +1 where S is -1
      _mm512_sub_epi8(_mm512_add_epi8(negative, negative), _mm512_set1_epi8(1));
  // vpdpbusd takes unsigned bytes: q + 128.
  const __m512i excess = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(-128), sign);
  const __m512i sums =
      _mm512_dpbusd_epi32(_mm512_sub_epi32(_mm512_set1_epi32(kBias), excess),
                          _mm512_set1_epi32(static_cast<int>(four ^ 0x80808080U)), sign);
  // high << 7 once more is high << 8.
  return _mm512_add_epi32(sums, _mm512_and_si512(sums, _mm512_set1_epi32(7 << kLowBits)));
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

/// The indices of a step's low and of its high nibbles: byte j looks into table j.
struct Indices8 {
  __m512i low;
  __m512i high;
  ONEBIT_INLINE explicit Indices8(__m512i bits) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i which = _mm512_set1_epi32(0x30201000);
    // (bits & nibble) | which
    low = _mm512_ternarylogic_epi32(bits, nibble, which, 0xEA);
    high = _mm512_ternarylogic_epi32(_mm512_srli_epi32(bits, 4), nibble, which, 0xEA);
  }
};

ONEBIT_INLINE Uint8x64 high_bytes(const std::uint8_t* table, const Indices8& at) {
  return reinterpret_cast<Uint8x64>(_mm512_permutexvar_epi8(at.low, load_table(table + 64))) +
         reinterpret_cast<Uint8x64>(_mm512_permutexvar_epi8(at.high, load_table(table + 192)));
}

/// -1 and -128 in the bytes of a dword that belong to a sum.
struct Coefficients8 {
  __m512i low;
  __m512i high;
  explicit Coefficients8(std::uint32_t bytes)
      : low(_mm512_set1_epi32(static_cast<int>(bytes))),
        high(_mm512_set1_epi32(static_cast<int>(bytes & 0x80808080U))) {}
};

/// One block of a panel for T tokens.
template <int T>
void sign1_i8_tile(const PanelBlock& s, const Tables8& x, const TileOutput& out) {
  const Coefficients8 minus(~0U);
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[t][k] = sums_before(out, t, k);
  }
  const float* scale = x.scales;
  for (std::int64_t begin = 0; begin < s.steps; begin += kBlockSteps, ++scale) {
    const std::int64_t end = s.steps - begin < kBlockSteps ? s.steps : begin + kBlockSteps;
    const __m512i bias = _mm512_set1_epi32(static_cast<std::int32_t>(end - begin) * 8 * kBias);
    Int32x16 dots[T][kQuarters];
    Uint8x64 high[T][kQuarters];
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        dots[t][k] = reinterpret_cast<Int32x16>(bias);
        high[t][k] = Uint8x64{};
      }
    }
    for (std::int64_t step = begin; step < end; ++step) {
      s.prefetch(step);
      const std::uint8_t* table = x.tables + step * kStepTable8;
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const Indices8 at(bits_at(s, step, k));
        ONEBIT_UNROLL
        for (int t = 0; t < T; ++t) {
          const std::uint8_t* own = table + t * x.stride;
          dots[t][k] =
              add_products(dots[t][k], _mm512_permutexvar_epi8(at.low, load_table(own)), minus.low);
          dots[t][k] = add_products(
              dots[t][k], _mm512_permutexvar_epi8(at.high, load_table(own + 128)), minus.low);
          high[t][k] += high_bytes(own, at);
        }
      }
    }
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V by = set1(scale[t * x.scale_stride]);
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const Int32x16 dot =
            add_products(dots[t][k], reinterpret_cast<__m512i>(high[t][k]), minus.high);
        sums[t][k] = fma(_mm512_cvtepi32_ps(reinterpret_cast<__m512i>(dot)), by, sums[t][k]);
      }
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) put_sums(out, t, k, sums[t][k]);
  }
}

/// The same for one token where every group of columns has a scale of its own: `scales` points to
/// this panel's of the block's first group. A step holds `Parts` groups, or is part of one.
template <int Parts>
void grouped_i8_tile(const PanelBlock& s, const Tables8& x, const float* scales,
                     std::int64_t group_steps, const TileOutput& out) {
  const Coefficients8 minus[2] = {Coefficients8(Parts == 1 ? ~0U : 0x0000FFFFU),
                                  Coefficients8(0xFFFF0000U)};
  V sums[kQuarters];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) sums[k] = sums_before(out, 0, k);
  for (std::int64_t begin = 0; begin < s.steps; begin += group_steps) {
    const std::int64_t end = s.steps - begin < group_steps ? s.steps : begin + group_steps;
    const __m512i bias =
        _mm512_set1_epi32(static_cast<std::int32_t>(end - begin) * 8 / Parts * kBias);
    Int32x16 dots[Parts][kQuarters];
    Uint8x64 high[kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      ONEBIT_UNROLL
      for (int p = 0; p < Parts; ++p) dots[p][k] = reinterpret_cast<Int32x16>(bias);
      high[k] = Uint8x64{};
    }
    for (std::int64_t step = begin; step < end; ++step) {
      s.prefetch(step);
      const std::uint8_t* table = x.tables + step * kStepTable8;
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const Indices8 at(bits_at(s, step, k));
        const __m512i a = _mm512_permutexvar_epi8(at.low, load_table(table));
        const __m512i b = _mm512_permutexvar_epi8(at.high, load_table(table + 128));
        ONEBIT_UNROLL
        for (int p = 0; p < Parts; ++p) {
          dots[p][k] = add_products(add_products(dots[p][k], a, minus[p].low), b, minus[p].low);
        }
        high[k] += high_bytes(table, at);
      }
    }
    const V by = set1(x.scales[begin / kBlockSteps]);
    ONEBIT_UNROLL
    for (int p = 0; p < Parts; ++p) {
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const Int32x16 dot =
            add_products(dots[p][k], reinterpret_cast<__m512i>(high[k]), minus[p].high);
        const V scaled = mul(_mm512_cvtepi32_ps(reinterpret_cast<__m512i>(dot)), by);
        sums[k] = fma(scaled, load(scales + k * kLanes), sums[k]);
      }
      scales += kSignPanelRows;
    }
  }
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) put_sums(out, 0, k, sums[k]);
}

void grouped_tile(const PanelBlock& s, const Tables8& x, const float* scales,
                  std::int64_t group_size, const TileOutput& out) {
  if (group_size < kStepCols) {
    grouped_i8_tile<2>(s, x, scales, 1, out);
  } else {
    grouped_i8_tile<1>(s, x, scales, group_size / kStepCols, out);
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

/// One block of a panel for T tokens.
template <int T>
void sign1_f32_tile(const PanelBlock& s, const TablesF& x, const TileOutput& out) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[t][k] = sums_before(out, t, k);
  }
  for (std::int64_t step = 0; step < s.steps; ++step) {
    s.prefetch(step);
    __m512i bits[kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) bits[k] = bits_at(s, step, k);
    add_nibbles(bits, x.tables + step * kStepTableF, x.stride, 0, 8, sums);
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) put_sums(out, t, k, sums[t][k]);
  }
}

/// The same for one token where every group of columns has a scale of its own: `scales` points to
/// this panel's of the block's first group.
void grouped_tile(const PanelBlock& s, const TablesF& x, const float* scales,
                  std::int64_t group_size, const TileOutput& out) {
  V sums[kQuarters];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) sums[k] = sums_before(out, 0, k);
  V part[1][kQuarters];
  const auto begin_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) part[0][k] = zero();
  };
  const auto end_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      sums[k] = fma(part[0][k], load(scales + k * kLanes), sums[k]);
    }
    scales += kSignPanelRows;
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
      add_nibbles(bits, x.tables + i * kStepTableF, 0, 0, 4, part);
      if (group_size < kStepCols) {
        end_group();
        begin_group();
      }
      add_nibbles(bits, x.tables + i * kStepTableF, 0, 4, 8, part);
    }
    end_group();
  }
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) put_sums(out, 0, k, sums[k]);
}
