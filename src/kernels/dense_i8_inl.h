// Products of q8_0 and q4_0 weights and int8 activations for one instruction set. Included after
// dense_inl.h (whose vector functions it uses) and the set's own
//
//   Int32s                      kLanes sums as int32
//   Bytes, load_bytes           a vector of as many bytes
//   low_nibbles, high_nibbles   of each byte, as bytes
//   kFlip                       what packing exchanges in each byte of q8_0: 0x80 makes it unsigned
//   sums_from(c)                all sums c
//   add_fours(s, w, four)       s[i] += Σ_k w[4 i + k] · four[k], k < 4; w as packed from q8_0
//   add_unsigned_fours          the same of bytes in 0 … 15
//   to_floats(s)                exact
//   sum_of_block(q)             Σ of 32 activations
//
// Layout: panels of kLanes rows; for every 64 columns the scales of two blocks, [2, kLanes] f16,
// then for every 4 columns those of each row, [fours, kLanes, 4]: of q8_0 16 fours of bytes, of
// q4_0 8 fours of bytes whose low nibbles are of the first block and high nibbles of the second. So
// a vector of sums needs no adding up across its lanes.

constexpr std::int64_t kPairCols = 2 * formats::kQuantBlock;
/// Columns whose sums of activations are held at a time, and tokens.
constexpr std::int64_t kDepthBlocks = 4096;
constexpr std::int64_t kBlockTokensBlocks = 64;
constexpr int kTileTokensBlocks = 4;
/// What is asked for ahead of its use; as for rows of floats.
constexpr std::int64_t kPrefetchBlocks = 2048;

constexpr std::int64_t pairs_of(std::int64_t cols) { return (cols + kPairCols - 1) / kPairCols; }

/// A stored type: `Block`, its integers, and how a panel holds those of two blocks.
struct PanelQ8_0 {
  using Block = formats::BlockQ8_0;
  static constexpr std::int64_t kPairBytes = kLanes * (2 * 2 + kPairCols);
  /// What the bytes are larger by than the weights.
  static constexpr std::int32_t kExcess = kFlip;

  static void put(const Block& block, int b, std::int64_t row, std::byte* weights) {
    for (std::int64_t four = 0; four < 8; ++four) {
      std::uint32_t q;
      __builtin_memcpy(&q, block.qs + 4 * four, sizeof(q));
      q ^= kFlip * 0x01010101U;
      __builtin_memcpy(weights + ((b * 8 + four) * kLanes + row) * 4, &q, sizeof(q));
    }
  }
  static ONEBIT_INLINE Bytes load(const std::byte* weights, int b, int four) {
    return load_bytes(weights + (b * 8 + four) * 4 * kLanes);
  }
  static ONEBIT_INLINE Int32s add(Int32s sums, Bytes w, const std::int8_t* four) {
    return add_fours(sums, w, four);
  }
};

struct PanelQ4_0 {
  using Block = formats::BlockQ4_0;
  static constexpr std::int64_t kPairBytes = kLanes * (2 * 2 + kPairCols / 2);
  static constexpr std::int32_t kExcess = 8;

  static void put(const Block& block, int b, std::int64_t row, std::byte* weights) {
    for (std::int64_t c = 0; c < formats::kQuantBlock; ++c) {
      const int nibble = c < 16 ? block.qs[c] & 15 : block.qs[c - 16] >> 4;
      std::byte& byte = weights[(c / 4 * kLanes + row) * 4 + c % 4];
      byte = b == 0 ? static_cast<std::byte>(nibble) : byte | static_cast<std::byte>(nibble << 4);
    }
  }
  static ONEBIT_INLINE Bytes load(const std::byte* weights, int b, int four) {
    const Bytes both = load_bytes(weights + four * 4 * kLanes);
    return b == 0 ? low_nibbles(both) : high_nibbles(both);
  }
  static ONEBIT_INLINE Int32s add(Int32s sums, Bytes w, const std::int8_t* four) {
    return add_unsigned_fours(sums, w, four);
  }
};

template <class Type>
std::int64_t panel_bytes(std::int64_t rows, std::int64_t cols) noexcept {
  return (rows + kLanes - 1) / kLanes * pairs_of(cols) * Type::kPairBytes;
}

template <class Type>
void pack_blocks(const std::byte* stored, std::int64_t rows, std::int64_t cols, std::byte* out,
                 std::int64_t row_begin, std::int64_t row_end) noexcept {
  using Block = typename Type::Block;
  const auto* w = reinterpret_cast<const Block*>(stored);
  const std::int64_t blocks = cols / formats::kQuantBlock;
  for (std::int64_t r = row_begin; r < row_end; r += kLanes) {
    std::byte* panel = out + r / kLanes * pairs_of(cols) * Type::kPairBytes;
    for (std::int64_t p = 0; p < pairs_of(cols); ++p) {
      std::byte* pair = panel + p * Type::kPairBytes;
      for (int b = 0; b < 2; ++b) {
        for (std::int64_t i = 0; i < kLanes; ++i) {
          static constexpr Block kNone = {};  // of scale 0
          const bool inside = r + i < rows && 2 * p + b < blocks;
          const Block& block = inside ? w[(r + i) * blocks + 2 * p + b] : kNone;
          __builtin_memcpy(pair + (b * kLanes + i) * 2, &block.d, 2);
          Type::put(block, b, i, pair + 4 * kLanes);
        }
      }
    }
  }
}

constexpr BlockLayout kLayoutQ8_0 = {kLanes, panel_bytes<PanelQ8_0>, pack_blocks<PanelQ8_0>};
constexpr BlockLayout kLayoutQ4_0 = {kLanes, panel_bytes<PanelQ4_0>, pack_blocks<PanelQ4_0>};
constexpr const BlockLayout* kPanelsQ8_0 = &kLayoutQ8_0;
constexpr const BlockLayout* kPanelsQ4_0 = &kLayoutQ4_0;

/// Activations of a tile's first token, from a block of columns on; of the next one stride further.
struct Int8Tokens {
  const std::int8_t* q;
  std::int64_t stride;
  const float* scales;
  std::int64_t scale_stride;
  const std::int32_t* offsets;  ///< what a block's sums begin with
  std::int64_t offset_stride;
};

/// sums[t] += the products of one panel and T tokens.
template <class Type, int T>
void blocks_tile(const std::byte* panel, std::int64_t pairs, const Int8Tokens& x, V (&sums)[T]) {
  for (std::int64_t p = 0; p < pairs; ++p) {
    const std::byte* pair = panel + p * Type::kPairBytes;
    ONEBIT_UNROLL
    for (std::int64_t i = 0; i < Type::kPairBytes; i += 64) {
      __builtin_prefetch(pair + kPrefetchBlocks + i, 0, kIntoL2);
    }
    ONEBIT_UNROLL
    for (int b = 0; b < 2; ++b) {
      const std::int64_t col = p * kPairCols + b * formats::kQuantBlock;
      Int32s dots[T];
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) dots[t] = sums_from(x.offsets[t * x.offset_stride + p * 2 + b]);
      ONEBIT_UNROLL
      for (int i = 0; i < 8; ++i) {
        const Bytes weights = Type::load(pair + 4 * kLanes, b, i);
        ONEBIT_UNROLL
        for (int t = 0; t < T; ++t) {
          dots[t] = Type::add(dots[t], weights, x.q + t * x.stride + col + i * 4);
        }
      }
      const V d = load_f16(reinterpret_cast<const f16_bits*>(pair) + b * kLanes);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const V scale = set1(x.scales[t * x.scale_stride + col / kActivationBlock]);
        sums[t] = fma(mul(to_floats(dots[t]), scale), d, sums[t]);
      }
    }
  }
}

template <class Type>
void gemm_blocks(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                 std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) {
  constexpr std::int64_t kBlocks = kDepthBlocks / formats::kQuantBlock;
  std::int32_t offsets[kBlockTokensBlocks * kBlocks];
  const std::int64_t stride = QuantizedRows::stride(w.cols);
  const std::int64_t scale_stride = QuantizedRows::blocks(w.cols);
  const std::int64_t panel_stride = pairs_of(w.cols) * Type::kPairBytes;
  for (std::int64_t k = 0; k < w.cols; k += kDepthBlocks) {
    const std::int64_t cols = stride - k < kDepthBlocks ? stride - k : kDepthBlocks;
    for (std::int64_t first = 0; first < tokens; first += kBlockTokensBlocks) {
      const std::int64_t count =
          tokens - first < kBlockTokensBlocks ? tokens - first : kBlockTokensBlocks;
      for (std::int64_t t = 0; t < count; ++t) {
        for (std::int64_t b = 0; b < cols / formats::kQuantBlock; ++b) {
          offsets[t * kBlocks + b] =
              Type::kExcess == 0 ? 0
                                 : -Type::kExcess * sum_of_block(x.q + (first + t) * stride + k +
                                                                 b * formats::kQuantBlock);
        }
      }
      for (std::int64_t r = row_begin / kLanes * kLanes; r < row_end; r += kLanes) {
        const std::byte* panel =
            w.data + r / kLanes * panel_stride + k / kPairCols * Type::kPairBytes;
        const std::int64_t from = row_begin > r ? row_begin - r : 0;
        const std::int64_t to = row_end - r < kLanes ? row_end - r : kLanes;
        const auto tile = [&]<int T>(std::int64_t t) {
          float* out = y + (first + t) * ldy + r;
          V sums[T];
          alignas(64) float values[kLanes] = {};
          for (int i = 0; i < T; ++i) {
            for (std::int64_t j = from; k > 0 && j < to; ++j) values[j] = out[i * ldy + j];
            sums[i] = load(values);
          }
          blocks_tile<Type, T>(panel, cols / kPairCols,
                               {x.q + (first + t) * stride + k, stride,
                                x.scales + (first + t) * scale_stride + k / kActivationBlock,
                                scale_stride, offsets + t * kBlocks, kBlocks},
                               sums);
          for (int i = 0; i < T; ++i) {
            store(values, sums[i]);
            for (std::int64_t j = from; j < to; ++j) out[i * ldy + j] = values[j];
          }
        };
        for_token_tiles<kTileTokensBlocks>(count, tile);
      }
    }
  }
}

void gemm_q8_0_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                  std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks<PanelQ8_0>(w, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_q4_0_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                  std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks<PanelQ4_0>(w, x, tokens, y, ldy, row_begin, row_end);
}
