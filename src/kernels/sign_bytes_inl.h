// Tiles of S for the sets whose vectors hold one byte, eight columns, of many rows
// (sign_byte of sign_panels_inl.h). Included after the set's tables, which are
//
//   kQuarters                 vectors of sums of a panel
//   Bytes, no_bytes, add_bytes   a byte of each row of a panel
//   HalfStep<T>(bits, tables, stride)   low[T], high[T]: what two bytes of each row look up, added
//                             up, four low entries and four high ones for T tokens
//   kLowBits                  of an entry; kHighBits has the others
//   Sums16                    16-bit sums of a panel's rows, of a block: add_low, add_high (of
//                             Bytes), dots(nibbles, k): Σ ± q of vector k over as many nibbles
//   kByteTableF               floats of the tables of a byte
//   add_byte(bits, j, tables, stride, sums)   sums[t][k] += what byte j of a step adds to y
//
// and followed by sign_gemm_inl.h.

/// Of a step, two bytes of each row: what a byte holds the low entries' sum of.
constexpr int kHalves = 2;
static_assert(4 * ((1 << kLowBits) - 1) <= 255);
/// Steps whose high entries' sum a byte holds.
constexpr int kStepsPerHigh = 2;
static_assert(kStepsPerHigh * 8 * ((1 << kHighBits) - 1) <= 255);
// Sums and bias of a block are 16 bits: 32 nibbles of at most 1020, biased by 32 · 512.
static_assert(kBlockSteps * 8 * 1020 <= 65535);

/// Sums of a panel that come from y and go back to it, times h where that is given, but for rows
/// that are not the tile's.
ONEBIT_INLINE void load_sums(const TileOutput& out, int t, V (&sums)[kQuarters]) {
  alignas(32) float values[kSignPanelRows] = {};
  if (!out.is_first) {
    for (std::int64_t r = out.rows.begin; r < out.rows.end; ++r) values[r] = out.y[t * out.ldy + r];
  }
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) sums[k] = load(values + k * kLanes);
}

ONEBIT_INLINE void store_sums(const V (&sums)[kQuarters], const TileOutput& out, int t) {
  float* y = out.y + t * out.ldy;
  if (out.rows.begin == 0 && out.rows.end == kSignPanelRows) {
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      const V sum = out.h != nullptr ? mul(sums[k], load(out.h + k * kLanes)) : sums[k];
      store(y + k * kLanes, sum);
    }
    return;
  }
  alignas(32) float values[kSignPanelRows];
  ONEBIT_UNROLL
  for (int k = 0; k < kQuarters; ++k) store(values + k * kLanes, sums[k]);
  for (std::int64_t r = out.rows.begin; r < out.rows.end; ++r) {
    y[r] = out.h != nullptr ? values[r] * out.h[r] : values[r];
  }
}

/// One block of a panel for T tokens.
template <int T>
void sign1_i8_tile(const PanelBlock& s, const Tables8& x, const TileOutput& out) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) load_sums(out, t, sums[t]);
  const float* scale = x.scales;
  for (std::int64_t begin = 0; begin < s.steps; begin += kBlockSteps, ++scale) {
    const std::int64_t end = s.steps - begin < kBlockSteps ? s.steps : begin + kBlockSteps;
    Sums16 block[T];
    for (std::int64_t step = begin; step < end; step += kStepsPerHigh) {
      // Rows have an even number of steps.
      Bytes high[T];
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) high[t] = no_bytes();
      ONEBIT_UNROLL
      for (int i = 0; i < kStepsPerHigh; ++i) {
        s.prefetch(step + i);
        ONEBIT_UNROLL
        for (int half = 0; half < kHalves; ++half) {
          const HalfStep<T> sum(
              s.at(step + i) + half * 2 * kSignPanelRows,
              x.tables + (step + i) * kStepTable8 + half * (kStepTable8 / kHalves), x.stride);
          ONEBIT_UNROLL
          for (int t = 0; t < T; ++t) {
            high[t] = add_bytes(high[t], sum.high[t]);
            block[t].add_low(sum.low[t]);
          }
        }
      }
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) block[t].add_high(high[t]);
    }
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V by = set1(scale[t * x.scale_stride]);
      ONEBIT_UNROLL
      for (int k = 0; k < kQuarters; ++k) {
        sums[t][k] = fma(block[t].dots((end - begin) * 8, k), by, sums[t][k]);
      }
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) store_sums(sums[t], out, t);
}

/// The same for one token where every group of columns has a scale of its own: `scales` points to
/// this panel's of the block's first group.
void grouped_tile(const PanelBlock& s, const Tables8& x, const float* scales,
                  std::int64_t group_size, const TileOutput& out) {
  V sums[kQuarters];
  load_sums(out, 0, sums);
  const std::int64_t halves = s.steps * kHalves;
  const std::int64_t group_halves = group_size * kHalves / kStepCols;
  for (std::int64_t begin = 0; begin < halves; begin += group_halves, scales += kSignPanelRows) {
    const std::int64_t end = halves - begin < group_halves ? halves : begin + group_halves;
    Sums16 group;
    for (std::int64_t half = begin; half < end; ++half) {
      const HalfStep<1> sum(s.p + half * 2 * kSignPanelRows,
                            x.tables + half * (kStepTable8 / kHalves), 0);
      group.add_low(sum.low[0]);
      group.add_high(sum.high[0]);
    }
    const V by = set1(x.scales[begin / (kBlockSteps * kHalves)]);
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      sums[k] = fma(mul(group.dots((end - begin) * 4, k), by), load(scales + k * kLanes), sums[k]);
    }
  }
  store_sums(sums, out, 0);
}

/// One block of a panel for T tokens.
template <int T>
void sign1_f32_tile(const PanelBlock& s, const TablesF& x, const TileOutput& out) {
  V sums[T][kQuarters];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) load_sums(out, t, sums[t]);
  for (std::int64_t step = 0; step < s.steps; ++step) {
    s.prefetch(step);
    ONEBIT_UNROLL
    for (int j = 0; j < 4; ++j) {
      add_byte(s.at(step), j, x.tables + step * kStepTableF, x.stride, sums);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) store_sums(sums[t], out, t);
}

/// The same for one token where every group of columns has a scale of its own: `scales` points to
/// this panel's of the block's first group.
void grouped_tile(const PanelBlock& s, const TablesF& x, const float* scales,
                  std::int64_t group_size, const TileOutput& out) {
  V sums[kQuarters];
  load_sums(out, 0, sums);
  const std::int64_t group_bytes = group_size / 8;
  const std::int64_t bytes = s.steps * 4;
  for (std::int64_t begin = 0; begin < bytes; begin += group_bytes, scales += kSignPanelRows) {
    const std::int64_t end = bytes - begin < group_bytes ? bytes : begin + group_bytes;
    V part[1][kQuarters];
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) part[0][k] = zero();
    for (std::int64_t j = begin; j < end; ++j) {
      add_byte(s.p + j * kSignPanelRows, 0, x.tables + j * kByteTableF, 0, part);
    }
    ONEBIT_UNROLL
    for (int k = 0; k < kQuarters; ++k) {
      sums[k] = fma(part[0][k], load(scales + k * kLanes), sums[k]);
    }
  }
  store_sums(sums, out, 0);
}
