// Tables of S for NEON; see sign_panels_inl.h, and sign_bytes_inl.h for the tiles. A vector holds
// one byte, eight columns, of 16 rows, each nibble an index into 16 bytes (tbl). Included by
// kernels_neon.cc.

constexpr int kTileTokens8 = 2;
constexpr int kTileTokensF = 2;
/// Vectors of sums of a panel.
constexpr int kQuarters = 4;
static_assert(kQuarters * kLanes == kSignPanelRows);

ONEBIT_INLINE uint8x16_t load_bytes(const std::byte* p) {
  return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
}

// ---- int8: a sum of four ± q is 10 bits once 512 is added: six low ones and four high ones,
// looked up by tbl and added as bytes, then as 16-bit integers, which hold a block's. ----

/// A nibble's table: 16 bytes of low bits, then 16 of high ones.
constexpr std::int64_t kNibbleTable8 = 32;
constexpr std::int64_t kStepTable8 = 8 * kNibbleTable8;
constexpr std::int16_t kBias = 512;
constexpr int kLowBits = 6;
constexpr int kHighBits = 10 - kLowBits;

void build_tables(const std::int8_t* q, std::int64_t steps, std::uint8_t* out) {
  // Of q[k] in the entries 0 to 7 and 8 to 15, which differ in the sign of q[3].
  static constexpr std::int16_t kPlusMinus[3][8] = {
      {1, -1, 1, -1, 1, -1, 1, -1}, {1, 1, -1, -1, 1, 1, -1, -1}, {1, 1, 1, 1, -1, -1, -1, -1}};
  for (std::int64_t nibble = 0; nibble < steps * 8; ++nibble) {
    const std::int8_t* four = q + nibble * 4;
    int16x8_t three = vdupq_n_s16(kBias);
    ONEBIT_UNROLL
    for (int k = 0; k < 3; ++k) three = vmlaq_n_s16(three, vld1q_s16(kPlusMinus[k]), four[k]);
    const int16x8_t last = vdupq_n_s16(four[3]);
    const uint16x8_t plus = vreinterpretq_u16_s16(vaddq_s16(three, last));
    const uint16x8_t minus = vreinterpretq_u16_s16(vsubq_s16(three, last));
    const uint8x16_t bytes = vuzp1q_u8(vreinterpretq_u8_u16(plus), vreinterpretq_u8_u16(minus));
    std::uint8_t* table = out + nibble * kNibbleTable8;
    vst1q_u8(table, vandq_u8(bytes, vdupq_n_u8((1 << kLowBits) - 1)));
    vst1q_u8(table + 16, vshrn_high_n_u16(vshrn_n_u16(plus, kLowBits), minus, kLowBits));
  }
}

using Bytes = uint8x16_t;
ONEBIT_INLINE Bytes no_bytes() { return vdupq_n_u8(0); }
ONEBIT_INLINE Bytes add_bytes(Bytes a, Bytes b) { return vaddq_u8(a, b); }

ONEBIT_INLINE Bytes look_up(const std::uint8_t* table, uint8x16_t index) {
  return vqtbl1q_u8(vld1q_u8(table), index);
}

/// The indices that low and high nibbles are.
struct Nibbles {
  uint8x16_t low;
  uint8x16_t high;
  ONEBIT_INLINE explicit Nibbles(const std::byte* bits) {
    const uint8x16_t bytes = load_bytes(bits);
    low = vandq_u8(bytes, vdupq_n_u8(15));
    high = vshrq_n_u8(bytes, 4);
  }
};

/// Low and high bits of half a step, two bytes of 16 rows, added up.
template <int T>
struct HalfStep {
  Bytes low[T];
  Bytes high[T];
  ONEBIT_INLINE HalfStep(const std::byte* bits, const std::uint8_t* tables, std::int64_t stride) {
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) low[t] = high[t] = no_bytes();
    ONEBIT_UNROLL
    for (int j = 0; j < 2; ++j) {
      const Nibbles at(bits + j * kSignPanelRows);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const std::uint8_t* own = tables + t * stride + j * 2 * kNibbleTable8;
        const std::uint8_t* next = own + kNibbleTable8;
        low[t] = add_bytes(low[t], add_bytes(look_up(own, at.low), look_up(next, at.high)));
        high[t] =
            add_bytes(high[t], add_bytes(look_up(own + 16, at.low), look_up(next + 16, at.high)));
      }
    }
  }
};

/// 16-bit sums of 16 rows.
struct Sums16 {
  uint16x8_t first;
  uint16x8_t last;
  ONEBIT_INLINE Sums16() : first(vdupq_n_u16(0)), last(vdupq_n_u16(0)) {}
  ONEBIT_INLINE void add_low(Bytes bytes) {
    first = vaddw_u8(first, vget_low_u8(bytes));
    last = vaddw_high_u8(last, bytes);
  }
  ONEBIT_INLINE void add_high(Bytes bytes) {
    const uint8x16_t by = vdupq_n_u8(1 << kLowBits);
    first = vmlal_u8(first, vget_low_u8(bytes), vget_low_u8(by));
    last = vmlal_high_u8(last, bytes, by);
  }
  /// Σ ± q of rows 4 k to 4 k + 3 over `nibbles`.
  ONEBIT_INLINE V dots(std::int64_t nibbles, int k) const {
    const uint16x8_t eight = k < 2 ? first : last;
    const uint16x8_t bias = vdupq_n_u16(static_cast<std::uint16_t>(nibbles * kBias));
    const uint32x4_t four = k % 2 == 0 ? vsubl_u16(vget_low_u16(eight), vget_low_u16(bias))
                                       : vsubl_high_u16(eight, bias);
    return vcvtq_f32_s32(vreinterpretq_s32_u32(four));
  }
};

// ---- f32: tables of the 16 sums ± x0 ± x1 ± x2 ± x3, as bytes. An index and the same plus 16,
// side by side, look up two bytes of a sum in two vectors; its other two come from two more. ----

/// 16 first bytes of the sums, then the second, third and fourth ones.
constexpr std::int64_t kNibbleTableF = 16;
constexpr std::int64_t kByteTableF = 2 * kNibbleTableF;
constexpr std::int64_t kStepTableF = 4 * kByteTableF;

/// Of columns [0, n), with zeros beyond.
void build_tables(const float* x, std::int64_t n, std::int64_t steps, float* out) {
  static constexpr float kPlusMinus[2][4] = {{1, -1, 1, -1}, {1, 1, -1, -1}};
  for (std::int64_t c = 0; c < steps * kStepCols; c += 4) {
    float four[4];
    for (std::int64_t k = 0; k < 4; ++k) four[k] = c + k < n ? x[c + k] : 0.0F;
    const V first =
        add(mul(load(kPlusMinus[0]), set1(four[0])), mul(load(kPlusMinus[1]), set1(four[1])));
    float sums[16];
    store(sums, add(first, set1(four[2] + four[3])));
    store(sums + 4, add(first, set1(four[3] - four[2])));
    store(sums + 8, add(first, set1(four[2] - four[3])));
    store(sums + 12, add(first, set1(-four[2] - four[3])));
    const uint8x16x4_t bytes = vld4q_u8(reinterpret_cast<const std::uint8_t*>(sums));
    auto* table = reinterpret_cast<std::uint8_t*>(out + c / 4 * kNibbleTableF);
    ONEBIT_UNROLL
    for (int k = 0; k < 4; ++k) vst1q_u8(table + k * 16, bytes.val[k]);
  }
}

/// sums[k] += the sums that 16 rows' indices look up.
ONEBIT_INLINE void add_looked_up(const float* sums16, const uint8x16_t (&pairs)[2],
                                 V (&sums)[kQuarters]) {
  const auto* table = reinterpret_cast<const std::uint8_t*>(sums16);
  const uint8x16x2_t low = vld1q_u8_x2(table);
  const uint8x16x2_t high = vld1q_u8_x2(table + 32);
  ONEBIT_UNROLL
  for (int half = 0; half < 2; ++half) {
    const uint16x8_t lows = vreinterpretq_u16_u8(vqtbl2q_u8(low, pairs[half]));
    const uint16x8_t highs = vreinterpretq_u16_u8(vqtbl2q_u8(high, pairs[half]));
    V* four = sums + 2 * half;
    four[0] = add(four[0], vreinterpretq_f32_u16(vzip1q_u16(lows, highs)));
    four[1] = add(four[1], vreinterpretq_f32_u16(vzip2q_u16(lows, highs)));
  }
}

/// sums[t][k] += what byte j of a step adds to y.
template <int T>
ONEBIT_INLINE void add_byte(const std::byte* bits, int j, const float* tables,
                            std::int64_t table_stride, V (&sums)[T][kQuarters]) {
  const Nibbles at(bits + j * kSignPanelRows);
  ONEBIT_UNROLL
  for (int nibble = 0; nibble < 2; ++nibble) {
    const uint8x16_t index = nibble == 0 ? at.low : at.high;
    const uint8x16_t next = vorrq_u8(index, vdupq_n_u8(16));
    const uint8x16_t pairs[2] = {vzip1q_u8(index, next), vzip2q_u8(index, next)};
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      add_looked_up(tables + t * table_stride + j * kByteTableF + nibble * kNibbleTableF, pairs,
                    sums[t]);
    }
  }
}
