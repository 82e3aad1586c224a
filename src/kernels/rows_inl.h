// Row operations and attention for one instruction set. Included as dense_inl.h is, and after it;
// beside that header's vector functions it needs add, sub, mul, div, min, max (a NaN in the second
// operand wins), round, scale2 (v 2^n), set1, sum, max_of, store_part, and for int8
// max_magnitude, magnitude_bits and store_i8.

/// e^v within 2 ulp; 0 below -104, inf above 88.73, NaN for NaN. v = n ln 2 + r, |r| <= ln 2 / 2;
/// the polynomial for e^r is that of Cephes' expf, ln 2 is split so that n · kLn2High is exact.
ONEBIT_INLINE V exp(V v) {
  constexpr float kLog2E = 0x1.715476p0F;
  constexpr float kLn2High = 0x1.63p-1F;
  constexpr float kLn2Low = -0x1.bd0106p-13F;
  v = min(set1(89.0F), max(set1(-104.0F), v));
  const V n = round(mul(v, set1(kLog2E)));
  V r = fma(n, set1(-kLn2High), v);
  r = fma(n, set1(-kLn2Low), r);
  V p = set1(1.9875691500e-4F);
  p = fma(p, r, set1(1.3981999507e-3F));
  p = fma(p, r, set1(8.3334519073e-3F));
  p = fma(p, r, set1(4.1665795894e-2F));
  p = fma(p, r, set1(1.6666665459e-1F));
  p = fma(p, r, set1(5.0000001201e-1F));
  p = fma(mul(r, r), p, add(r, set1(1.0F)));
  return scale2(p, n);
}

void multiply(const float* x, const float* g, float* y, std::int64_t n) noexcept {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, mul(load(x + i), load(g + i)));
  if (i < n) store_part(y + i, mul(load_part(x + i, n - i), load_part(g + i, n - i)), n - i);
}

void add_row(const float* x, float* y, std::int64_t n) noexcept {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, add(load(y + i), load(x + i)));
  if (i < n) store_part(y + i, add(load_part(y + i, n - i), load_part(x + i, n - i)), n - i);
}

void axpy(float a, const float* x, float* y, std::int64_t n) noexcept {
  const V va = set1(a);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, fma(va, load(x + i), load(y + i)));
  if (i < n) store_part(y + i, fma(va, load_part(x + i, n - i), load_part(y + i, n - i)), n - i);
}

float dot(const float* x, const float* y, std::int64_t n) noexcept {
  V sum0 = zero();
  V sum1 = zero();
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sum0 = fma(load(x + i), load(y + i), sum0);
    sum1 = fma(load(x + i + kLanes), load(y + i + kLanes), sum1);
  }
  for (; i + kLanes <= n; i += kLanes) sum0 = fma(load(x + i), load(y + i), sum0);
  if (i < n) sum1 = fma(load_part(x + i, n - i), load_part(y + i, n - i), sum1);
  return sum(add(sum0, sum1));
}

void rms_norm(const float* x, const float* w, float eps, float* y, std::int64_t n) noexcept {
  const float squares = dot(x, x, n);
  const V inverse = set1(1.0F / __builtin_sqrtf(squares / static_cast<float>(n) + eps));
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, mul(mul(load(x + i), inverse), load(w + i)));
  if (i < n) {
    const V tail = mul(mul(load_part(x + i, n - i), inverse), load_part(w + i, n - i));
    store_part(y + i, tail, n - i);
  }
}

void layer_norm(const float* x, float eps, float* y, std::int64_t n) noexcept {
  const std::int64_t whole = n / kLanes * kLanes;
  V sums = n > whole ? load_part(x + whole, n - whole) : zero();
  for (std::int64_t i = 0; i < whole; i += kLanes) sums = add(sums, load(x + i));
  const float mean = sum(sums) / static_cast<float>(n);
  const V means = set1(mean);
  V squares = zero();
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const V deviation = sub(load(x + i), means);
    squares = fma(deviation, deviation, squares);
  }
  float tail = 0.0F;
  for (std::int64_t i = whole; i < n; ++i) tail += (x[i] - mean) * (x[i] - mean);
  const float variance = (sum(squares) + tail) / static_cast<float>(n);
  const V inverse = set1(1.0F / __builtin_sqrtf(variance + eps));
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    store(y + i, mul(sub(load(x + i), means), inverse));
  }
  if (whole < n) {
    const V last = mul(sub(load_part(x + whole, n - whole), means), inverse);
    store_part(y + whole, last, n - whole);
  }
}

ONEBIT_INLINE V swiglu(V gate, V up) {
  return mul(div(gate, add(set1(1.0F), exp(sub(zero(), gate)))), up);
}

void swiglu_row(const float* gate, const float* up, float* y, std::int64_t n) noexcept {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, swiglu(load(gate + i), load(up + i)));
  if (i < n) {
    store_part(y + i, swiglu(load_part(gate + i, n - i), load_part(up + i, n - i)), n - i);
  }
}

/// x = e^(scale (x - max)) / Σ, scale > 0.
void scaled_softmax(float* x, std::int64_t n, float scale) {
  const std::int64_t whole = n / kLanes * kLanes;
  V maxima = set1(x[0]);
  for (std::int64_t i = 0; i < whole; i += kLanes) maxima = max(load(x + i), maxima);
  float largest = max_of(maxima);
  for (std::int64_t i = whole; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const V vmax = set1(largest);
  const V vscale = set1(scale);
  V sums = zero();
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const V e = exp(mul(sub(load(x + i), vmax), vscale));
    store(x + i, e);
    sums = add(sums, e);
  }
  if (whole < n) {
    store_part(x + whole, exp(mul(sub(load_part(x + whole, n - whole), vmax), vscale)), n - whole);
    sums = add(sums, load_part(x + whole, n - whole));
  }
  const V inverse = set1(1.0F / sum(sums));
  for (std::int64_t i = 0; i < whole; i += kLanes) store(x + i, mul(load(x + i), inverse));
  if (whole < n) store_part(x + whole, mul(load_part(x + whole, n - whole), inverse), n - whole);
}

void softmax(float* x, std::int64_t n) noexcept { scaled_softmax(x, n, 1.0F); }

float quantize_i8(const float* x, std::int64_t n, std::int8_t* q) noexcept {
  const std::int64_t padded = (n + 63) / 64 * 64;
  const std::int64_t whole = n / kLanes * kLanes;
  V magnitudes = n > whole ? max_magnitude(zero(), load_part(x + whole, n - whole)) : zero();
  for (std::int64_t i = 0; i < whole; i += kLanes)
    magnitudes = max_magnitude(magnitudes, load(x + i));
  // As integers, magnitudes compare as the floats do, with infinity and NaN above them all.
  const std::uint32_t bits = magnitude_bits(magnitudes);
  constexpr std::uint32_t kInfinity = 0x7F800000U;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof(largest));
  if (bits >= kInfinity || largest < kQuantizeZeroBelow) {
    __builtin_memset(q, 0, static_cast<std::size_t>(padded));
    return bits >= kInfinity ? __builtin_nanf("") : 0.0F;
  }
  const float scale = largest / 127.0F;
  const V vscale = set1(scale);
  for (std::int64_t i = 0; i < whole; i += kLanes) store_i8(q + i, div(load(x + i), vscale));
  std::int64_t end = whole;
  if (whole < n) {  // the padding holds a whole vector
    store_i8(q + whole, div(load_part(x + whole, n - whole), vscale));
    end += kLanes;
  }
  __builtin_memset(q + end, 0, static_cast<std::size_t>(padded - end));
  return scale;
}

// ---- attention ----

/// y[t, c] = Σ_p a[t, p] v[p, c] for T tokens and C vectors of columns, the last of them of `part`
/// columns.
template <int T, int C>
void weighted_sum_tile(const float* a, std::int64_t lda, const float* v, std::int64_t ldv,
                       std::int64_t positions, std::int64_t part, float* y, std::int64_t ldy) {
  V sums[T][C];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int c = 0; c < C; ++c) sums[t][c] = zero();
  }
  for (std::int64_t p = 0; p < positions; ++p) {
    V values[C];
    ONEBIT_UNROLL
    for (int c = 0; c < C; ++c) {
      const float* from = v + p * ldv + c * kLanes;
      values[c] = C == 1 ? load_part(from, part) : load(from);
    }
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V weight = set1(a[t * lda + p]);
      ONEBIT_UNROLL
      for (int c = 0; c < C; ++c) sums[t][c] = fma(weight, values[c], sums[t][c]);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int c = 0; c < C; ++c) {
      float* to = y + t * ldy + c * kLanes;
      if constexpr (C == 1) {
        store_part(to, sums[t][c], part);
      } else {
        store(to, sums[t][c]);
      }
    }
  }
}

/// All columns for tokens <= T.
template <int T>
void weighted_sum(const float* a, std::int64_t lda, const float* v, std::int64_t ldv,
                  std::int64_t positions, std::int64_t n, std::int64_t tokens, float* y,
                  std::int64_t ldy) {
  if (tokens < T) {
    if constexpr (T > 1) {
      weighted_sum<T - 1>(a, lda, v, ldv, positions, n, tokens, y, ldy);
    }
    return;
  }
  std::int64_t c = 0;
  for (; c + 4 * kLanes <= n; c += 4 * kLanes) {
    weighted_sum_tile<T, 4>(a, lda, v + c, ldv, positions, 0, y + c, ldy);
  }
  for (; c < n; c += kLanes) {
    const std::int64_t part = n - c < kLanes ? n - c : kLanes;
    weighted_sum_tile<T, 1>(a, lda, v + c, ldv, positions, part, y + c, ldy);
  }
}

void attention(const AttentionHead& h) noexcept {
  static_assert(kTileTokens <= kAttentionTile);
  const std::int64_t lda = h.first + h.tokens;
  for (std::int64_t t = 0; t < h.tokens; t += kTileTokens) {
    const std::int64_t count = h.tokens - t < kTileTokens ? h.tokens - t : kTileTokens;
    const std::int64_t positions = h.first + t + count;  // that the last token of the tile sees
    gemm_tokens<kTileTokens>(Matrix<F32Row, float>{h.k, h.ldkv}, 0, h.q + t * h.ldq, h.ldq,
                             h.head_dim, count, h.scores, lda, 0, positions, false);
    for (std::int64_t i = 0; i < count; ++i) {
      float* scores = h.scores + i * lda;
      const std::int64_t seen = h.first + t + i + 1;
      scaled_softmax(scores, seen, h.scale);
      for (std::int64_t p = seen; p < positions; ++p) scores[p] = 0.0F;
    }
    weighted_sum<kTileTokens>(h.scores, lda, h.v, h.ldkv, positions, h.head_dim, count,
                              h.y + t * h.ldy, h.ldy);
  }
}
