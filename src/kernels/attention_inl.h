// Attention for one instruction set; included after rows_inl.h. Both of its products are
//   y[i, c] += Σ_k a[i, k] b[k, c],
// scores with a the queries and b the keys of a block, results with a the weights and b its values:
// columns are the lanes, a[i, k] is broadcast, and the sums of a tile stay in registers.

/// Vectors of columns of a tile.
constexpr int kTileColumns = 4;

/// Rows of a block in memory: load(k, c) the vector from column c of row k on.
struct F32Block {
  const float* p;
  std::int64_t stride;
  ONEBIT_INLINE V at(std::int64_t k, std::int64_t c) const { return load(p + k * stride + c); }
};

struct F16Block {
  const f16_bits* p;
  std::int64_t stride;
  ONEBIT_INLINE V at(std::int64_t k, std::int64_t c) const { return load_f16(p + k * stride + c); }
};

/// y[i, c] = scale[i] y[i, c] + Σ_k a[i, k] b[k, c] for T rows and C vectors from column c on;
/// without y where scale is null.
template <int T, int C, class Block>
void product_tile(const float* a, std::int64_t lda, const Block& b, std::int64_t depth,
                  const float* scale, float* y, std::int64_t ldy, std::int64_t c) {
  V sums[T][C];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int i = 0; i < C; ++i) {
      sums[t][i] =
          scale == nullptr ? zero() : mul(load(y + t * ldy + c + i * kLanes), set1(scale[t]));
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    V row[C];
    ONEBIT_UNROLL
    for (int i = 0; i < C; ++i) row[i] = b.at(k, c + i * kLanes);
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V by = set1(a[t * lda + k]);
      ONEBIT_UNROLL
      for (int i = 0; i < C; ++i) sums[t][i] = fma(by, row[i], sums[t][i]);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int i = 0; i < C; ++i) store(y + t * ldy + c + i * kLanes, sums[t][i]);
  }
}

/// All columns, a multiple of 16, of count <= T rows.
template <int T, class Block>
void product_rows(const float* a, std::int64_t lda, std::int64_t count, const Block& b,
                  std::int64_t depth, const float* scale, float* y, std::int64_t ldy,
                  std::int64_t columns) {
  if constexpr (T > 1) {
    if (count < T) return product_rows<T - 1>(a, lda, count, b, depth, scale, y, ldy, columns);
  }
  std::int64_t c = 0;
  for (; c + kTileColumns * kLanes <= columns; c += kTileColumns * kLanes) {
    product_tile<T, kTileColumns>(a, lda, b, depth, scale, y, ldy, c);
  }
  for (; c < columns; c += kLanes) product_tile<T, 1>(a, lda, b, depth, scale, y, ldy, c);
}

template <class Block>
void product(const float* a, std::int64_t lda, std::int64_t count, const Block& b,
             std::int64_t depth, const float* scale, float* y, std::int64_t ldy,
             std::int64_t columns) {
  for (std::int64_t t = 0; t < count; t += kTileTokens) {
    const std::int64_t rows = count - t < kTileTokens ? count - t : kTileTokens;
    product_rows<kTileTokens>(a + t * lda, lda, rows, b, depth,
                              scale == nullptr ? nullptr : scale + t, y + t * ldy, ldy, columns);
  }
}

/// Whether rows begin to end of a block are finite: 0 times what is not is NaN.
template <class Block>
bool all_finite(const Block& b, std::int64_t begin, std::int64_t end, std::int64_t columns) {
  V sums = zero();
  for (std::int64_t k = begin; k < end; ++k) {
    for (std::int64_t c = 0; c < columns; c += kLanes) sums = fma(b.at(k, c), zero(), sums);
  }
  return sum(sums) == 0.0F;
}

/// What has been seen of each query: the maximum of its scores, and the sum of its weights as if
/// that had been known from the beginning. Arrays of whole vectors.
struct SoftmaxStates {
  alignas(64) float maxima[kMaxQueries];
  alignas(64) float totals[kMaxQueries];
  alignas(64) float before[kMaxQueries];  ///< what earlier sums are to be multiplied by
};
static_assert(kMaxQueries % kLanes == 0);

/// The kKvBlock scores of each query, of which it sees `seen(i)`, become weights.
template <class Seen>
ONEBIT_INLINE void weigh(float* scores, std::int64_t queries, const Seen& seen,
                         SoftmaxStates& states) {
  for (std::int64_t i = 0; i < queries; ++i) {
    float* row = scores + i * kKvBlock;
    const std::int64_t first_hidden = seen(i);
    for (std::int64_t p = first_hidden > 0 ? first_hidden : 0; p < kKvBlock; ++p) {
      row[p] = -__builtin_inff();
    }
    V maxima = set1(states.maxima[i]);
    for (std::int64_t p = 0; p < kKvBlock; p += kLanes) maxima = max(load(row + p), maxima);
    const float maximum = max_of(maxima);
    states.before[i] = states.maxima[i] - maximum;
    states.maxima[i] = maximum;
  }
  for (std::int64_t i = 0; i < queries; i += kLanes) {
    store(states.before + i, exp(load(states.before + i)));
  }
  for (std::int64_t i = 0; i < queries; ++i) {
    float* row = scores + i * kKvBlock;
    const V maximum = set1(states.maxima[i]);
    V sums = zero();
    for (std::int64_t p = 0; p < kKvBlock; p += kLanes) {
      const V weight = exp(sub(load(row + p), maximum));
      store(row + p, weight);
      sums = add(sums, weight);
    }
    states.totals[i] = __builtin_fmaf(states.totals[i], states.before[i], sum(sums));
  }
}

/// The blocks of a head one after the other: keys_at(b) and values_at(b, positions) give what
/// product() takes.
template <class KeysAt, class ValuesAt>
ONEBIT_INLINE void attend_blocks(std::int64_t dim, const Queries& x, float* weights, float* out,
                                 std::int64_t stride, const KeysAt& keys_at,
                                 const ValuesAt& values_at) {
  const std::int64_t padded = KvLayout{KvType::kF32, dim}.padded_dim();
  float* results = weights + kMaxQueries * kKvBlock;
  SoftmaxStates states;
  for (std::int64_t i = 0; i < kMaxQueries; i += kLanes) {
    store(states.maxima + i, set1(-__builtin_inff()));
    store(states.totals + i, zero());
    store(states.before + i, zero());
  }
  const std::int64_t positions = x.position + (x.count - 1) / x.group + 1;
  for (std::int64_t b = 0; b * kKvBlock < positions; ++b) {
    product(x.q, dim, x.count, keys_at(b), dim, nullptr, weights, kKvBlock, kKvBlock);
    weigh(
        weights, x.count,
        [&](std::int64_t i) { return x.position + i / x.group + 1 - b * kKvBlock; }, states);
    const std::int64_t left = positions - b * kKvBlock;
    const std::int64_t rows = left < kKvBlock ? left : kKvBlock;
    const auto values = values_at(b, rows);
    const float* before = b == 0 ? nullptr : states.before;
    const auto seen_by = [&](std::int64_t token) {
      const std::int64_t seen = x.position + token + 1 - b * kKvBlock;
      return seen < 0 ? 0 : seen < rows ? seen : rows;
    };
    if (all_finite(values, seen_by(0), rows, padded)) {
      product(weights, kKvBlock, x.count, values, rows, before, results, padded, padded);
      continue;
    }
    // The weight 0 of a row that a query does not see would not keep such values from it.
    for (std::int64_t i = 0; i < x.count; i += x.group) {
      const std::int64_t count = x.count - i < x.group ? x.count - i : x.group;
      product(weights + i * kKvBlock, kKvBlock, count, values, seen_by(i / x.group),
              before == nullptr ? nullptr : before + i, results + i * padded, padded, padded);
    }
  }
  for (std::int64_t i = 0; i < x.count; ++i) {
    const V inverse = set1(1.0F / states.totals[i]);
    const float* from = results + i * padded;
    float* to = out + i / x.group * stride + i % x.group * dim;
    std::int64_t c = 0;
    for (; c + kLanes <= dim; c += kLanes) store(to + c, mul(load(from + c), inverse));
    if (c < dim) store_part(to + c, mul(load(from + c), inverse), dim - c);
  }
}

void attend_f32(const KvHead& head, const Queries& x, float* scratch, float* out,
                std::int64_t stride) noexcept {
  const KvLayout layout{KvType::kF32, head.dim};
  attend_blocks(
      head.dim, x, scratch, out, stride,
      [&](std::int64_t b) {
        return F32Block{reinterpret_cast<const float*>(head.keys + b * layout.key_bytes()),
                        kKvBlock};
      },
      [&](std::int64_t b, std::int64_t) {
        return F32Block{reinterpret_cast<const float*>(head.values + b * layout.value_bytes()),
                        layout.padded_dim()};
      });
}

/// Where a block becomes f32 before it is multiplied: behind weights and results.
ONEBIT_INLINE float* decoded_in(float* scratch, std::int64_t padded_dim) {
  return scratch + kMaxQueries * (kKvBlock + padded_dim);
}

F32Block decode_f16(const std::byte* block, std::int64_t rows, std::int64_t stride, float* to) {
  const auto* from = reinterpret_cast<const f16_bits*>(block);
  for (std::int64_t i = 0; i < rows * stride; i += kLanes) store(to + i, load_f16(from + i));
  return {to, stride};
}

void attend_f16(const KvHead& head, const Queries& x, float* scratch, float* out,
                std::int64_t stride) noexcept {
  const KvLayout layout{KvType::kF16, head.dim};
  const std::int64_t padded = layout.padded_dim();
  const auto keys = [&](std::int64_t b) { return head.keys + b * layout.key_bytes(); };
  const auto values = [&](std::int64_t b) { return head.values + b * layout.value_bytes(); };
  if (x.count <= kTileTokens) {  // each vector is used once: nothing to share
    attend_blocks(
        head.dim, x, scratch, out, stride,
        [&](std::int64_t b) {
          return F16Block{reinterpret_cast<const f16_bits*>(keys(b)), kKvBlock};
        },
        [&](std::int64_t b, std::int64_t) {
          return F16Block{reinterpret_cast<const f16_bits*>(values(b)), padded};
        });
    return;
  }
  float* decoded = decoded_in(scratch, padded);
  attend_blocks(
      head.dim, x, scratch, out, stride,
      [&](std::int64_t b) { return decode_f16(keys(b), head.dim, kKvBlock, decoded); },
      [&](std::int64_t b, std::int64_t rows) {
        return decode_f16(values(b), rows, padded, decoded + head.dim * kKvBlock);
      });
}

void attend_q8_0(const KvHead& head, const Queries& x, float* scratch, float* out,
                 std::int64_t stride) noexcept {
  constexpr std::int64_t kGroup = formats::kQuantBlock;
  const KvLayout layout{KvType::kQ8_0, head.dim};
  const std::int64_t padded = layout.padded_dim();
  float* decoded = decoded_in(scratch, padded);
  attend_blocks(
      head.dim, x, scratch, out, stride,
      [&](std::int64_t b) {
        const std::byte* block = head.keys + b * layout.key_bytes();
        const auto* scales = reinterpret_cast<const bf16_bits*>(block);
        const auto* q = reinterpret_cast<const std::int8_t*>(block + layout.scale_bytes());
        for (std::int64_t i = 0; i < head.dim; ++i) {
          for (std::int64_t p = 0; p < kKvBlock; p += kLanes) {
            store(decoded + i * kKvBlock + p, mul(load_bf16(scales + i / kGroup * kKvBlock + p),
                                                  load_i8(q + i * kKvBlock + p)));
          }
        }
        return F32Block{decoded, kKvBlock};
      },
      [&](std::int64_t b, std::int64_t rows) {
        const std::byte* block = head.values + b * layout.value_bytes();
        const auto* scales = reinterpret_cast<const bf16_bits*>(block);
        const auto* q = reinterpret_cast<const std::int8_t*>(block + layout.scale_bytes());
        float* to = decoded + head.dim * kKvBlock;
        for (std::int64_t p = 0; p < rows; ++p) {
          for (std::int64_t c = 0; c < padded; c += kLanes) {
            const V d = set1(bf16_to_f32(scales[p * layout.groups() + c / kGroup]));
            store(to + p * padded + c, mul(d, load_i8(q + p * padded + c)));
          }
        }
        return F32Block{to, padded};
      });
}

void to_f16(const float* x, f16_bits* y, std::int64_t n) noexcept {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(y + i, load(x + i));
  if (i < n) {
    alignas(64) f16_bits last[kLanes];
    store_f16(last, load_part(x + i, n - i));
    __builtin_memcpy(y + i, last, static_cast<std::size_t>(n - i) * sizeof(*y));
  }
}
