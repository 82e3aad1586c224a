// Products of S for AVX-512 with VBMI, by tables. Four signs choose one of 16 sums of four
// activations; the sums are computed once a token and looked up for every row. Included by
// kernels_avx512.cc inside its target region and unnamed namespace, after the vector functions.
//
// Layout: panels of 64 rows; for every 32 columns (a step) 64 dwords, one a row, whose bit i is
// column i of the step. So a vector holds a step of 16 rows, and byte j of each dword the columns 8
// j to 8 j + 7: two nibbles, each the index into the table of its four columns.

constexpr std::int64_t kPanelRows64 = 64;
constexpr std::int64_t kStepCols = 32;
constexpr std::int64_t kStepBytes = kPanelRows64 * 4;
/// Vectors of a panel.
constexpr int kQuarters = 4;
/// What the stack gives to the tables.
constexpr std::int64_t kTableBytes = 128 * 1024;
/// Columns of tables for several tokens: those of two tokens and a panel of S stay in L1.
constexpr std::int64_t kBlockCols = 1024;
/// Columns of tables for one token, which then reads S in one stream.
constexpr std::int64_t kLongBlockCols = 4096;
/// Panels further on that are asked for: the memory's latency at the speed of this loop.
constexpr std::int64_t kPrefetchBytes = 4096;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

/// Steps of a row: rows are padded to whole words of 64 columns.
ONEBIT_INLINE std::int64_t steps_of(std::int64_t cols) {
  return formats::sign1_row_words(cols) * 2;
}

std::int64_t sign_bytes(std::int64_t rows, std::int64_t cols) noexcept {
  return round_up(rows, kPanelRows64) / kPanelRows64 * steps_of(cols) * kStepBytes;
}

void pack_signs(const formats::Sign1View& s, std::byte* out, std::int64_t row_begin,
                std::int64_t row_end) noexcept {
  const std::int64_t words = formats::sign1_row_words(s.cols);
  for (std::int64_t r = row_begin; r < row_end; r += kPanelRows64) {
    std::byte* panel = out + r * words * 8;
    const std::int64_t rows = row_end - r < kPanelRows64 ? row_end - r : kPanelRows64;
    for (std::int64_t i = 0; i < words; ++i) {
      std::uint32_t steps[2][kPanelRows64] = {};
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::uint64_t word = s.words[(r + row) * words + i];
        steps[0][row] = static_cast<std::uint32_t>(word);
        steps[1][row] = static_cast<std::uint32_t>(word >> 32);
      }
      __builtin_memcpy(panel + i * sizeof(steps), steps, sizeof(steps));
    }
  }
}

/// Groups of a row with its padding.
ONEBIT_INLINE std::int64_t groups_of(std::int64_t cols, std::int64_t group_size) {
  return round_up(steps_of(cols) * kStepCols, group_size) / group_size;
}

std::int64_t scale_count(std::int64_t rows, std::int64_t cols, std::int64_t group_size) noexcept {
  return round_up(rows, kPanelRows64) * groups_of(cols, group_size);
}

/// [panel, group, row of the panel]; zeros beyond the last row and column.
void pack_scales(const float* h, std::int64_t rows, std::int64_t cols, std::int64_t group_size,
                 float* out) noexcept {
  const std::int64_t groups = (cols + group_size - 1) / group_size;
  const std::int64_t padded = groups_of(cols, group_size);
  for (std::int64_t r = 0; r < round_up(rows, kPanelRows64); ++r) {
    for (std::int64_t g = 0; g < padded; ++g) {
      out[(r / kPanelRows64 * padded + g) * kPanelRows64 + r % kPanelRows64] =
          r < rows && g < groups ? h[r * groups + g] : 0.0F;
    }
  }
}

constexpr SignLayout kLayout = {kPanelRows64, sign_bytes, pack_signs, scale_count, pack_scales};
constexpr const SignLayout* kSigns = &kLayout;

/// A block of steps of one panel, and what is read after it.
struct PanelBlock {
  const std::byte* p;
  const std::byte* next;
  std::int64_t steps;
  ONEBIT_INLINE __m512i at(std::int64_t step, int quarter) const {
    return _mm512_loadu_si512(p + step * kStepBytes + quarter * 64);
  }
  ONEBIT_INLINE void prefetch(std::int64_t step) const {
    constexpr std::int64_t kAhead = kPrefetchBytes / kStepBytes;
    const std::byte* to = step + kAhead < steps ? p + (step + kAhead) * kStepBytes
                                                : next + (step + kAhead - steps) * kStepBytes;
    ONEBIT_UNROLL
    for (int i = 0; i < kQuarters; ++i) _mm_prefetch(to + 64 * i, _MM_HINT_T0);
  }
};

/// Rows of a panel's vector that are inside [row_begin, row_end), as a mask.
ONEBIT_INLINE __mmask16 rows_inside(std::int64_t first_row, std::int64_t row_begin,
                                    std::int64_t row_end) {
  const std::int64_t skip = row_begin > first_row ? row_begin - first_row : 0;
  const std::int64_t end = row_end - first_row < kLanes ? row_end - first_row : kLanes;
  return skip >= end ? __mmask16{0}
                     : static_cast<__mmask16>((0xFFFFU >> (kLanes - end)) & (0xFFFFU << skip));
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
using Int8x64 = std::int8_t __attribute__((vector_size(64)));

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
                   const std::int32_t* totals, std::int32_t* y, std::int64_t ldy,
                   const __mmask16* masks) {
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
    Int8x64 high[T][kQuarters];
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) high[t][k] = Int8x64{};
    }
    for (std::int64_t step = begin; step < end; ++step) {
      s.prefetch(step);
      const std::uint8_t* table = tables + step * kStepTable8;
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        const __m512i bits = s.at(step, k);
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
              reinterpret_cast<Int8x64>(_mm512_permutexvar_epi8(a, load_table(own + 64))) +
              reinterpret_cast<Int8x64>(_mm512_permutexvar_epi8(b, load_table(own + 192)));
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
      const __m512i before =
          totals != nullptr ? _mm512_set1_epi32(totals[t]) : _mm512_maskz_loadu_epi32(masks[k], to);
      // Twice a sum may leave int32 though y does not: these wrap.
      const __m512i negative = _mm512_sub_epi32(reinterpret_cast<__m512i>(sums[t][k]), bias);
      _mm512_mask_storeu_epi32(to, masks[k],
                               _mm512_sub_epi32(before, _mm512_add_epi32(negative, negative)));
    }
  }
}

/// Calls tile(block, first row, masks) for steps [step, step + count) of every panel in the range.
template <class Tile>
ONEBIT_INLINE void for_panels(const PackedSigns& s, std::int64_t step, std::int64_t count,
                              std::int64_t row_begin, std::int64_t row_end, const Tile& tile) {
  const std::int64_t panel_bytes = steps_of(s.cols) * kStepBytes;
  const std::int64_t last = (row_end - 1) / kPanelRows64;
  for (std::int64_t panel = row_begin / kPanelRows64; panel <= last; ++panel) {
    const std::byte* p = s.data + panel * panel_bytes + step * kStepBytes;
    const PanelBlock block{p, panel < last ? p + panel_bytes : p, count};
    const std::int64_t row = panel * kPanelRows64;
    __mmask16 masks[kQuarters];
    for (int k = 0; k < kQuarters; ++k) {
      masks[k] = rows_inside(row + k * kLanes, row_begin, row_end);
    }
    tile(block, row, masks);
  }
}

/// Columns whose tables, `bytes` a column, are there at a time, and the tokens that share them.
struct TableBlock {
  std::int64_t cols;
  std::int64_t tokens;
  TableBlock(std::int64_t all_tokens, std::int64_t bytes)
      : cols(all_tokens == 1 ? kLongBlockCols : kBlockCols), tokens(kTableBytes / (cols * bytes)) {}
};

void gemm_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int64_t ldq,
                   std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  if (row_begin >= row_end) return;
  alignas(64) std::uint8_t tables[kTableBytes];
  const TableBlock block(tokens, kStepTable8 / kStepCols);
  const std::int64_t all_steps = steps_of(s.cols);
  constexpr std::int64_t kMostTokens = kTableBytes / (kBlockCols * (kStepTable8 / kStepCols));
  std::int32_t totals[kMostTokens];
  for (std::int64_t first = 0; first < tokens; first += block.tokens) {
    const std::int64_t count = tokens - first < block.tokens ? tokens - first : block.tokens;
    for (std::int64_t t = 0; t < count; ++t) {
      totals[t] = sum_q(q + (first + t) * ldq, all_steps * kStepCols);
    }
    for (std::int64_t step = 0; step < all_steps; step += block.cols / kStepCols) {
      const std::int64_t left = all_steps - step;
      const std::int64_t steps = left < block.cols / kStepCols ? left : block.cols / kStepCols;
      const std::int64_t stride = steps * kStepTable8;
      for (std::int64_t t = 0; t < count; ++t) {
        build_tables(q + (first + t) * ldq + step * kStepCols, steps, tables + t * stride);
      }
      for_panels(s, step, steps, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, const __mmask16* masks) {
                   std::int64_t t = 0;
                   const auto tile = [&]<int T>() {
                     sign1_i8_tile<T>(panel, tables + t * stride, stride,
                                      step == 0 ? totals + t : nullptr, y + (first + t) * ldy + row,
                                      ldy, masks);
                     t += T;
                   };
                   while (t + 2 <= count) tile.template operator()<2>();
                   if (t < count) tile.template operator()<1>();
                 });
    }
  }
}

void gemv_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int32_t* y,
                   std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_sign1_i8(s, q, 0, 1, y, 0, row_begin, row_end);
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
                    bool is_first, float* y, std::int64_t ldy, const __mmask16* masks) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      sums[t][k] = is_first ? zero() : _mm512_maskz_loadu_ps(masks[k], y + t * ldy + k * kLanes);
    }
  }
  for (std::int64_t step = 0; step < s.steps; ++step) {
    s.prefetch(step);
    __m512i bits[kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) bits[k] = s.at(step, k);
    add_nibbles(bits, tables + step * kStepTableF, table_stride, 0, 8, sums);
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      _mm512_mask_storeu_ps(y + t * ldy + k * kLanes, masks[k], sums[t][k]);
    }
  }
}

/// The same where every group of columns has a scale of its own: h points to this panel's scales of
/// the block's first group.
void grouped_tile(const PanelBlock& s, const float* table, const float* h, std::int64_t group_size,
                  bool is_first, float* y, const __mmask16* masks) {
  V sums[kQuarters];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) {
    sums[k] = is_first ? zero() : _mm512_maskz_loadu_ps(masks[k], y + k * kLanes);
  }
  V part[1][kQuarters];
  const auto begin_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) part[0][k] = zero();
  };
  const auto end_group = [&] {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) sums[k] = fma(part[0][k], load(h + k * kLanes), sums[k]);
    h += kPanelRows64;
  };
  const std::int64_t group_steps = group_size < kStepCols ? 1 : group_size / kStepCols;
  for (std::int64_t step = 0; step < s.steps; step += group_steps) {
    const std::int64_t end = s.steps - step < group_steps ? s.steps : step + group_steps;
    begin_group();
    for (std::int64_t i = step; i < end; ++i) {
      s.prefetch(i);
      __m512i bits[kQuarters];
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) bits[k] = s.at(i, k);
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
    _mm512_mask_storeu_ps(y + k * kLanes, masks[k], sums[k]);
  }
}

/// Builds tables block by block; run(panel, row, masks, first token, tokens, first step, tables,
/// their stride).
template <class Run>
ONEBIT_INLINE void gemm_by_float_tables(const PackedSigns& s, const float* x, std::int64_t tokens,
                                        std::int64_t row_begin, std::int64_t row_end,
                                        const Run& run) {
  if (row_begin >= row_end) return;
  alignas(64) float tables[kTableBytes / sizeof(float)];
  const TableBlock block(tokens,
                         kStepTableF * static_cast<std::int64_t>(sizeof(float)) / kStepCols);
  const std::int64_t all_steps = steps_of(s.cols);
  for (std::int64_t first = 0; first < tokens; first += block.tokens) {
    const std::int64_t count = tokens - first < block.tokens ? tokens - first : block.tokens;
    for (std::int64_t step = 0; step < all_steps; step += block.cols / kStepCols) {
      const std::int64_t left = all_steps - step;
      const std::int64_t steps = left < block.cols / kStepCols ? left : block.cols / kStepCols;
      const std::int64_t stride = steps * kStepTableF;
      const std::int64_t col = step * kStepCols;
      for (std::int64_t t = 0; t < count; ++t) {
        build_tables(x + (first + t) * s.cols + col, s.cols - col, steps, tables + t * stride);
      }
      for_panels(s, step, steps, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, const __mmask16* masks) {
                   run(panel, row, masks, first, count, step, tables, stride);
                 });
    }
  }
}

void gemm_sign1_f32(const PackedSigns& s, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_by_float_tables(
      s, x, tokens, row_begin, row_end,
      [&](const PanelBlock& panel, std::int64_t row, const __mmask16* masks, std::int64_t first,
          std::int64_t count, std::int64_t step, const float* tables, std::int64_t stride) {
        std::int64_t t = 0;
        const auto tile = [&]<int T>() {
          sign1_f32_tile<T>(panel, tables + t * stride, stride, step == 0,
                            y + (first + t) * ldy + row, ldy, masks);
          t += T;
        };
        while (t + 4 <= count) tile.template operator()<4>();
        while (t < count) tile.template operator()<1>();
      });
}

void gemv_sign1_f32(const PackedSigns& s, const float* x, float* y, std::int64_t row_begin,
                    std::int64_t row_end) noexcept {
  gemm_sign1_f32(s, x, 1, y, s.rows, row_begin, row_end);
}

void gemm_sign1_grouped_f32(const GroupedSigns& w, const float* x, std::int64_t tokens, float* y,
                            std::int64_t ldy, std::int64_t row_begin,
                            std::int64_t row_end) noexcept {
  const std::int64_t groups = groups_of(w.s.cols, w.group_size);
  gemm_by_float_tables(
      w.s, x, tokens, row_begin, row_end,
      [&](const PanelBlock& panel, std::int64_t row, const __mmask16* masks, std::int64_t first,
          std::int64_t count, std::int64_t step, const float* tables, std::int64_t stride) {
        const float* h = w.h + row * groups + step * kStepCols / w.group_size * kPanelRows64;
        for (std::int64_t t = 0; t < count; ++t) {
          grouped_tile(panel, tables + t * stride, h, w.group_size, step == 0,
                       y + (first + t) * ldy + row, masks);
        }
      });
}
