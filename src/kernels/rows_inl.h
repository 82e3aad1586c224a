// Row operations for one instruction set. Included as dense_inl.h is, and after it;
// beside that header's vector functions it needs add, sub, mul, div, min, max (a NaN in the second
// operand wins), finite_or (v where it is finite, else another), round, scale2 (v 2^n), set1, sum,
// max_of, store_part, and for integers max_magnitude, magnitude_bits and store_i8.

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

/// Σ x²
float sum_of_squares(const float* x, std::int64_t n) {
  V sum0 = zero();
  V sum1 = zero();
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const V x0 = load(x + i);
    const V x1 = load(x + i + kLanes);
    sum0 = fma(x0, x0, sum0);
    sum1 = fma(x1, x1, sum1);
  }
  for (; i + kLanes <= n; i += kLanes) {
    const V x0 = load(x + i);
    sum0 = fma(x0, x0, sum0);
  }
  if (i < n) {
    const V tail = load_part(x + i, n - i);
    sum1 = fma(tail, tail, sum1);
  }
  return sum(add(sum0, sum1));
}

void rms_norm(const float* x, const float* w, float eps, float* y, std::int64_t n) noexcept {
  const float squares = sum_of_squares(x, n);
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

float keep_finite(const float* x, float* y, std::int64_t n) noexcept {
  const V none = set1(-__builtin_inff());
  V largest = none;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const V kept = finite_or(load(x + i), none);
    store(y + i, kept);
    largest = max(kept, largest);
  }
  float result = max_of(largest);
  for (; i < n; ++i) {
    y[i] = __builtin_isfinite(x[i]) ? x[i] : -__builtin_inff();
    result = y[i] > result ? y[i] : result;
  }
  return result;
}

void softmax(float* x, std::int64_t n) noexcept {
  const std::int64_t whole = n / kLanes * kLanes;
  V maxima = set1(x[0]);
  for (std::int64_t i = 0; i < whole; i += kLanes) maxima = max(load(x + i), maxima);
  float largest = max_of(maxima);
  for (std::int64_t i = whole; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const V vmax = set1(largest);
  V sums = zero();
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const V e = exp(sub(load(x + i), vmax));
    store(x + i, e);
    sums = add(sums, e);
  }
  if (whole < n) {
    store_part(x + whole, exp(sub(load_part(x + whole, n - whole), vmax)), n - whole);
    sums = add(sums, load_part(x + whole, n - whole));
  }
  const V inverse = set1(1.0F / sum(sums));
  for (std::int64_t i = 0; i < whole; i += kLanes) store(x + i, mul(load(x + i), inverse));
  if (whole < n) store_part(x + whole, mul(load_part(x + whole, n - whole), inverse), n - whole);
}

/// One block of n values, value(c) the vector from column c on, part(c, n) n values of it; returns
/// its scale. Writes whole vectors.
template <class Value, class Part>
ONEBIT_INLINE float quantize_block(const Value& value, const Part& part, std::int64_t n,
                                   std::int8_t* q) {
  const std::int64_t whole = n / kLanes * kLanes;
  V magnitudes = n > whole ? max_magnitude(zero(), part(whole, n - whole)) : zero();
  for (std::int64_t i = 0; i < whole; i += kLanes) magnitudes = max_magnitude(magnitudes, value(i));
  // As integers, magnitudes compare as the floats do, with infinity and NaN above them all.
  const std::uint32_t bits = magnitude_bits(magnitudes);
  constexpr std::uint32_t kInfinity = 0x7F800000U;
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof(largest));
  if (bits >= kInfinity || largest < kQuantizeZeroBelow) {
    __builtin_memset(q, 0, static_cast<std::size_t>(n));
    return bits >= kInfinity ? __builtin_nanf("") : 0.0F;
  }
  const float scale = largest / 127.0F;
  const V vscale = set1(scale);
  for (std::int64_t i = 0; i < whole; i += kLanes) store_i8(q + i, div(value(i), vscale));
  if (whole < n) store_i8(q + whole, div(part(whole, n - whole), vscale));
  return scale;
}

template <class Value, class Part>
ONEBIT_INLINE void quantize_row(const Value& value, const Part& part, std::int64_t n,
                                std::int8_t* q, float* scales) {
  for (std::int64_t begin = 0; begin < n; begin += kActivationBlock) {
    const std::int64_t count = n - begin < kActivationBlock ? n - begin : kActivationBlock;
    *scales++ = quantize_block([&](std::int64_t c) { return value(begin + c); },
                               [&](std::int64_t c, std::int64_t m) { return part(begin + c, m); },
                               count, q + begin);
  }
  __builtin_memset(q + n, 0, static_cast<std::size_t>(QuantizedRows::stride(n) - n));
}

void quantize_i8(const float* x, const float* g, std::int64_t n, std::int8_t* q,
                 float* scales) noexcept {
  if (g == nullptr) {
    quantize_row([&](std::int64_t c) { return load(x + c); },
                 [&](std::int64_t c, std::int64_t m) { return load_part(x + c, m); }, n, q, scales);
  } else {
    quantize_row([&](std::int64_t c) { return mul(load(x + c), load(g + c)); },
                 [&](std::int64_t c, std::int64_t m) {
                   return mul(load_part(x + c, m), load_part(g + c, m));
                 },
                 n, q, scales);
  }
}
