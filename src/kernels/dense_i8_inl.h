// Products of q8_0 weights and int8 activations for one instruction set. Included after dense_inl.h
// (whose vector functions it uses) and the set's own
//
//   Int32s                      kLanes sums as int32
//   kFlip                       what packing exchanges in each weight: 0x80 makes it unsigned
//   sums_from(c)                all sums c
//   add_fours(s, w, four)       s[i] += Σ_k w[4 i + k] · four[k], k < 4; w bytes as packed
//   to_floats(s)                exact
//   offset_of(q)                what the sums of a block with 32 activations q begin with: minus
//                               what kFlip adds to them
//
// Layout: panels of kLanes rows; for every 64 columns the scales of two blocks, [2, kLanes] f16,
// then for every 4 columns those of each row: [16, kLanes, 4] bytes. So a vector of sums needs no
// adding up across its lanes.

constexpr std::int64_t kPairCols = 2 * formats::kQuantBlock;
constexpr std::int64_t kPairBytes = kLanes * (2 * 2 + kPairCols);
/// Columns whose sums of activations are held at a time, and tokens.
constexpr std::int64_t kDepth8 = 4096;
constexpr std::int64_t kBlockTokens8 = 64;
constexpr int kTileTokensQ8 = 4;
/// As for S: what is asked for ahead of its use.
constexpr std::int64_t kPrefetchQ8 = 4096;

constexpr std::int64_t pairs_of(std::int64_t cols) { return (cols + kPairCols - 1) / kPairCols; }

std::int64_t q8_0_bytes(std::int64_t rows, std::int64_t cols) noexcept {
  return (rows + kLanes - 1) / kLanes * pairs_of(cols) * kPairBytes;
}

void pack_q8_0(const formats::BlockQ8_0* w, std::int64_t rows, std::int64_t cols, std::byte* out,
               std::int64_t row_begin, std::int64_t row_end) noexcept {
  const std::int64_t blocks = cols / formats::kQuantBlock;
  for (std::int64_t r = row_begin; r < row_end; r += kLanes) {
    std::byte* panel = out + r / kLanes * pairs_of(cols) * kPairBytes;
    for (std::int64_t b = 0; b < pairs_of(cols) * 2; ++b) {
      std::byte* pair = panel + b / 2 * kPairBytes;
      std::byte* weights = pair + 4 * kLanes + b % 2 * formats::kQuantBlock * kLanes;
      for (std::int64_t i = 0; i < kLanes; ++i) {
        static constexpr formats::BlockQ8_0 kNone = {};
        const bool inside = r + i < rows && b < blocks;
        const formats::BlockQ8_0& block = inside ? w[(r + i) * blocks + b] : kNone;
        __builtin_memcpy(pair + (b % 2 * kLanes + i) * 2, &block.d, 2);
        for (std::int64_t c = 0; c < formats::kQuantBlock; ++c) {
          weights[(c / 4 * kLanes + i) * 4 + c % 4] =
              static_cast<std::byte>(static_cast<std::uint8_t>(block.qs[c]) ^ kFlip);
        }
      }
    }
  }
}

constexpr BlockLayout kLayoutQ8_0 = {kLanes, q8_0_bytes, pack_q8_0};
constexpr const BlockLayout* kPanelsQ8_0 = &kLayoutQ8_0;

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
template <int T>
void q8_0_tile(const std::byte* panel, std::int64_t pairs, const Int8Tokens& x, V (&sums)[T]) {
  for (std::int64_t p = 0; p < pairs; ++p) {
    const std::byte* pair = panel + p * kPairBytes;
    ONEBIT_UNROLL
    for (std::int64_t i = 0; i < kPairBytes; i += 64) {
      __builtin_prefetch(pair + kPrefetchQ8 + i);
    }
    ONEBIT_UNROLL
    for (int b = 0; b < 2; ++b) {
      const std::byte* weights = pair + 4 * kLanes + b * formats::kQuantBlock * kLanes;
      const std::int64_t col = p * kPairCols + b * formats::kQuantBlock;
      Int32s dots[T];
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) dots[t] = sums_from(x.offsets[t * x.offset_stride + p * 2 + b]);
      ONEBIT_UNROLL
      for (int i = 0; i < 8; ++i) {
        ONEBIT_UNROLL
        for (int t = 0; t < T; ++t) {
          dots[t] = add_fours(dots[t], weights + i * 4 * kLanes, x.q + t * x.stride + col + i * 4);
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

void gemm_q8_0_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                  std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  constexpr std::int64_t kBlocks = kDepth8 / formats::kQuantBlock;
  std::int32_t offsets[kBlockTokens8 * kBlocks];
  const std::int64_t stride = QuantizedRows::stride(w.cols);
  const std::int64_t scale_stride = QuantizedRows::blocks(w.cols);
  const std::int64_t panel_bytes = pairs_of(w.cols) * kPairBytes;
  for (std::int64_t k = 0; k < w.cols; k += kDepth8) {
    const std::int64_t cols = stride - k < kDepth8 ? stride - k : kDepth8;
    for (std::int64_t first = 0; first < tokens; first += kBlockTokens8) {
      const std::int64_t count = tokens - first < kBlockTokens8 ? tokens - first : kBlockTokens8;
      for (std::int64_t t = 0; t < count; ++t) {
        for (std::int64_t b = 0; b < cols / formats::kQuantBlock; ++b) {
          offsets[t * kBlocks + b] =
              offset_of(x.q + (first + t) * stride + k + b * formats::kQuantBlock);
        }
      }
      for (std::int64_t r = row_begin / kLanes * kLanes; r < row_end; r += kLanes) {
        const std::byte* panel = w.data + r / kLanes * panel_bytes + k / kPairCols * kPairBytes;
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
          q8_0_tile<T>(panel, cols / kPairCols,
                       {x.q + (first + t) * stride + k, stride,
                        x.scales + (first + t) * scale_stride + k / kActivationBlock, scale_stride,
                        offsets + t * kBlocks, kBlocks},
                       sums);
          for (int i = 0; i < T; ++i) {
            store(values, sums[i]);
            for (std::int64_t j = from; j < to; ++j) out[i * ldy + j] = values[j];
          }
        };
        for_token_tiles<kTileTokensQ8>(count, tile);
      }
    }
  }
}
