// Row operations of every instruction set: int8 quantisation bit for bit, the rest within derived
// bounds of double-precision references.
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <span>
#include <string>

#include "kernels/kernels.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kUnit = 0x1p-24;  // unit roundoff of f32
constexpr std::int64_t kSizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,   31,  32,
                                   33, 63, 64, 65, 127, 128, 129, 576, 1531, 1536};

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelSet* set : available_kernels()) names.emplace_back(set->name);
  return names;
}

class Rows : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelSet& k() const { return kernels_by_name(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Isa, Rows, ::testing::ValuesIn(isa_names()),
                         [](const auto& isa) { return isa.param; });

/// n values and a canary behind them.
struct Output {
  explicit Output(std::int64_t n) : values(size(n + 1), -77.25F) {}
  Output(std::vector<float> v) : values(std::move(v)) { values.push_back(-77.25F); }  // NOLINT
  float* data() { return values.data(); }
  float operator[](std::int64_t i) const { return values[size(i)]; }
  bool intact() const { return values.back() == -77.25F; }
  std::vector<float> values;
};

// ---- quantize_i8 ----

/// One block by the definition in kernels.h, apart from the scalar kernel; returns its scale.
float reference_quantize(std::span<const float> x, std::int8_t* q) {
  float max = 0;
  for (const float v : x) {
    if (!std::isfinite(v)) return kNan;
    max = std::max(max, std::abs(v));
  }
  if (max < kQuantizeZeroBelow) return 0;
  const float scale = max / 127.0F;
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Exact: the quotient is a float, and half a float is a double.
    const double v = static_cast<double>(x[i] / scale);
    double rounded = std::floor(v + 0.5);
    if (rounded - v == 0.5 && std::fmod(rounded, 2.0) != 0) rounded -= 1;
    q[i] = static_cast<std::int8_t>(rounded);
  }
  return scale;
}

void check_quantize(const KernelSet& k, const std::vector<float>& x, const float* g,
                    const std::vector<float>& product) {
  const auto n = static_cast<std::int64_t>(x.size());
  const std::int64_t blocks = QuantizedRows::blocks(n);
  std::vector<std::int8_t> want(size(QuantizedRows::stride(n)), 0);
  std::vector<std::int8_t> q(want.size() + 1, 99);
  std::vector<float> scales(size(blocks + 1), -77.25F);
  k.quantize_i8(x.data(), g, n, q.data(), scales.data());
  EXPECT_EQ(q.back(), 99);
  EXPECT_EQ(scales.back(), -77.25F);
  q.pop_back();
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t begin = b * kActivationBlock;
    const std::span<const float> block =
        std::span(product).subspan(size(begin), size(std::min(kActivationBlock, n - begin)));
    const float scale = reference_quantize(block, want.data() + begin);
    if (std::isnan(scale)) {
      EXPECT_TRUE(std::isnan(scales[size(b)]));
      continue;
    }
    EXPECT_EQ(std::bit_cast<std::uint32_t>(scales[size(b)]), std::bit_cast<std::uint32_t>(scale));
    for (std::size_t i = 0; i < block.size(); ++i) {
      // Half a step, and the roundings of scale and quotient: 127 · 2^-24 steps each.
      const double error = std::abs(block[i] - static_cast<double>(scale) * q[size(begin) + i]);
      EXPECT_LE(error, scale * (0.5 + 2 * 127 * kUnit) + (scale == 0 ? kQuantizeZeroBelow : 0));
    }
  }
  EXPECT_EQ(q, want);
}

void check_quantize(const KernelSet& k, const std::vector<float>& x) {
  check_quantize(k, x, nullptr, x);
}

TEST_P(Rows, QuantizeRandom) {
  Rng rng(21);
  for (const std::int64_t n : kSizes) {
    for (const float magnitude : {1.0F, 1e-35F, 1e-38F, 1e37F}) {
      SCOPED_TRACE(n);
      std::vector<float> x = random_floats(rng, n);
      for (float& v : x) v *= magnitude;
      check_quantize(k(), x);
      const std::vector<float> g = random_floats(rng, n);
      std::vector<float> product(x);
      for (std::size_t i = 0; i < x.size(); ++i) product[i] *= g[i];
      check_quantize(k(), x, g.data(), product);
    }
  }
}

TEST_P(Rows, QuantizeRoundsTiesToEven) {
  // max = 127 in every block makes the scale 1, so that halves are ties.
  std::vector<float> x;
  for (int i = -253; i <= 253; ++i) {
    if (static_cast<std::int64_t>(x.size()) % kActivationBlock == 0) x.push_back(127.0F);
    x.push_back(static_cast<float>(i) / 2);
  }
  check_quantize(k(), x);
  for (float& v : x) v = -v;
  check_quantize(k(), x);
}

TEST_P(Rows, QuantizeExtremes) {
  const float largest = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  check_quantize(k(), {0.0F, -0.0F, 0.0F});
  check_quantize(k(), {largest, -largest, 1.0F, largest / 2});
  check_quantize(k(), {least, -least, 190 * least});
  check_quantize(k(), {kQuantizeZeroBelow, -kQuantizeZeroBelow / 2, least});
  check_quantize(k(), {std::nextafter(kQuantizeZeroBelow, 0.0F), 1e-38F});
  for (const float bad : {kInf, -kInf, kNan, -kNan}) {
    for (const std::size_t where : {0U, 15U, 16U, 70U}) {
      std::vector<float> x(71, 1.0F);
      x[where] = bad;
      check_quantize(k(), x);
    }
  }
}

// ---- elementwise ----

TEST_P(Rows, MultiplyAndAddAreCorrectlyRounded) {
  Rng rng(22);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x = random_floats(rng, n);
    const std::vector<float> g = random_floats(rng, n);
    Output y(n);
    Output sum(g);
    k().multiply(x.data(), g.data(), y.data(), n);
    k().add(x.data(), sum.data(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(y[i], x[size(i)] * g[size(i)]);
      ASSERT_EQ(sum[i], g[size(i)] + x[size(i)]);
    }
    EXPECT_TRUE(y.intact() && sum.intact());
    Output in_place(x);
    k().multiply(in_place.data(), g.data(), in_place.data(), n);
    EXPECT_EQ(in_place.values, y.values);
  }
}

// ---- norms ----

TEST_P(Rows, RmsNorm) {
  Rng rng(25);
  for (const std::int64_t n : kSizes) {
    for (const float magnitude : {1.0F, 1e-6F, 1e6F}) {
      std::vector<float> x = random_floats(rng, n);
      for (float& v : x) v *= magnitude;
      const std::vector<float> w = random_floats(rng, n);
      const float eps = 1e-5F;
      double squares = 0;
      for (const float v : x) squares += static_cast<double>(v) * v;
      const double rms = std::sqrt(squares / static_cast<double>(n) + static_cast<double>(eps));
      Output y(n);
      k().rms_norm(x.data(), w.data(), eps, y.data(), n);
      // Σx² errs by n u relative at most, the root halves that; five more roundings.
      const double relative = (0.5 * static_cast<double>(n) + 6) * kUnit;
      for (std::int64_t i = 0; i < n; ++i) {
        const double want = x[size(i)] / rms * w[size(i)];
        ASSERT_NEAR(y[i], want, relative * std::abs(want)) << n;
      }
      EXPECT_TRUE(y.intact());
      Output in_place(x);
      k().rms_norm(in_place.data(), w.data(), eps, in_place.data(), n);
      EXPECT_EQ(in_place.values, y.values);
    }
  }
}

TEST_P(Rows, LayerNorm) {
  Rng rng(26);
  for (const std::int64_t n : kSizes) {
    for (const double offset : {0.0, 3.0, -1000.0}) {
      std::vector<float> x = random_floats(rng, n);
      double mean = 0;
      double magnitude = 0;
      for (float& v : x) {
        v = static_cast<float>(v + offset);
        mean += v / static_cast<double>(n);
        magnitude += std::abs(v) / static_cast<double>(n);
      }
      double variance = 0;
      for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
      const float eps = 1e-5F;
      const double deviation = std::sqrt(variance + static_cast<double>(eps));
      Output y(n);
      k().layer_norm(x.data(), eps, y.data(), n);
      // The mean errs by δ <= (n + 1) u mean|x|; so does every x - mean. A common shift δ of all
      // deviations adds δ² to the variance; rounding adds (n + 4) u relative to y.
      const double shift = static_cast<double>(n + 1) * kUnit * magnitude;
      const double relative =
          static_cast<double>(n + 8) * kUnit + shift * shift / (deviation * deviation);
      for (std::int64_t i = 0; i < n; ++i) {
        const double want = (x[size(i)] - mean) / deviation;
        const double rounding = kUnit * std::abs(x[size(i)] - mean);
        ASSERT_NEAR(y[i], want, (shift + rounding) / deviation + relative * std::abs(want)) << n;
      }
      EXPECT_TRUE(y.intact());
      Output in_place(x);
      k().layer_norm(in_place.data(), eps, in_place.data(), n);
      EXPECT_EQ(in_place.values, y.values);
    }
  }
}

TEST_P(Rows, LayerNormOfAConstantRowIsZero) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x(size(n), 2.0F);  // sums of it are exact
    Output y(n);
    k().layer_norm(x.data(), 1e-5F, y.data(), n);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], 0.0F);
  }
}

// ---- exponentials ----

double silu(double v) { return v / (1 + std::exp(-v)); }

TEST_P(Rows, SwigluOverTheWholeRange) {
  std::vector<float> gate;
  for (float v = -130.0F; v < 130.0F; v += 0.0137F) gate.push_back(v);
  for (const float v : {0.0F, -0.0F, 1e-40F, -1e-40F, 1e-20F, 1e30F, -1e30F, 3e38F, -3e38F}) {
    gate.push_back(v);
  }
  const std::int64_t n = static_cast<std::int64_t>(gate.size());
  const std::vector<float> one(gate.size(), 1.0F);
  Output y(n);
  k().swiglu(gate.data(), one.data(), y.data(), n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double want = silu(gate[size(i)]);
    ASSERT_NEAR(y[i], want, 0x1p-21 * std::abs(want) + 0x1p-120) << gate[size(i)];
  }
  EXPECT_TRUE(y.intact());
}

TEST_P(Rows, SwigluSizesAndAliasing) {
  Rng rng(27);
  for (const std::int64_t n : kSizes) {
    const std::vector<float> gate = random_floats(rng, n);
    const std::vector<float> up = random_floats(rng, n);
    Output y(n);
    k().swiglu(gate.data(), up.data(), y.data(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      const double want = silu(gate[size(i)]) * up[size(i)];
      ASSERT_NEAR(y[i], want, 0x1p-20 * std::abs(want));
    }
    EXPECT_TRUE(y.intact());
    Output in_place(gate);
    k().swiglu(in_place.data(), up.data(), in_place.data(), n);
    EXPECT_EQ(in_place.values, y.values);
    Output over_up(up);
    k().swiglu(gate.data(), over_up.data(), over_up.data(), n);
    EXPECT_EQ(over_up.values, y.values);
  }
}

TEST_P(Rows, SwigluKeepsNan) {
  const std::vector<float> gate(20, kNan);
  const std::vector<float> up(20, 1.0F);
  Output y(20);
  k().swiglu(gate.data(), up.data(), y.data(), 20);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(std::isnan(y[i]));
}

TEST_P(Rows, SoftmaxExponentialWithinTwoUlp) {
  // One row {0, v}: x0 = 1 / (1 + e^v), x1 = e^v x0, so x1 / x0 shows e^v but for two roundings.
  for (float v = 0.0F; v > -87.0F; v -= 0.00731F) {
    float x[2] = {0.0F, v};
    k().softmax(x, 2);
    const double want = std::exp(static_cast<double>(v));
    ASSERT_NEAR(static_cast<double>(x[1]) / x[0], want, want * (4 + 2) * kUnit + 0x1p-149) << v;
  }
}

TEST_P(Rows, Softmax) {
  Rng rng(28);
  for (const std::int64_t n : kSizes) {
    for (const float magnitude : {1.0F, 30.0F, 1e4F}) {
      std::vector<float> x = random_floats(rng, n);
      for (float& v : x) v *= magnitude;
      double max = x[0];
      for (const float v : x) max = std::max<double>(max, v);
      double sum = 0;
      for (const float v : x) sum += std::exp(v - max);
      Output y(x);
      k().softmax(y.data(), n);
      for (std::int64_t i = 0; i < n; ++i) {
        const double difference = x[size(i)] - max;
        const double want = std::exp(difference) / sum;
        // x - max rounds (relative u, so e^ by |x - max| u); e^ 4 u; the sum n u; two products.
        const double relative = (std::abs(difference) + static_cast<double>(n) + 10) * kUnit;
        ASSERT_NEAR(y[i], want, relative * want + 0x1p-126) << n;
      }
      EXPECT_TRUE(y.intact());
    }
  }
}

TEST_P(Rows, SoftmaxOfMaskedAndExtremeRows) {
  for (const std::int64_t n : kSizes) {
    Output y(std::vector<float>(size(n), -kInf));
    y.values[size(n / 2)] = -3e38F;
    k().softmax(y.data(), n);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], i == n / 2 ? 1.0F : 0.0F);
    Output equal(std::vector<float>(size(n), 3e38F));
    k().softmax(equal.data(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_NEAR(equal[i], 1.0 / static_cast<double>(n), 2 * kUnit);
    }
    Output nan(std::vector<float>(size(n), 1.0F));
    nan.values[size(n - 1)] = kNan;
    k().softmax(nan.data(), n);
    EXPECT_TRUE(std::isnan(nan[n - 1]));
  }
}

// ---- keep_finite ----

TEST_P(Rows, KeepFinite) {
  Rng rng(27);
  for (const std::int64_t n : kSizes) {
    std::vector<float> x = random_floats(rng, n);
    for (std::size_t i = 0; i < x.size(); i += 3)
      x[i] = i % 2 == 0 ? kNan : i % 4 == 1 ? kInf : -kInf;
    std::vector<float> want;
    float largest = -kInf;
    for (const float v : x) {
      want.push_back(std::isfinite(v) ? v : -kInf);
      largest = std::max(largest, want.back());
    }
    Output y(n);
    EXPECT_EQ(k().keep_finite(x.data(), y.data(), n), largest) << n;
    EXPECT_TRUE(y.intact());
    y.values.pop_back();
    EXPECT_EQ(y.values, want);
    EXPECT_EQ(k().keep_finite(x.data(), x.data(), n), largest);
    EXPECT_EQ(x, want);
  }
  EXPECT_EQ(k().keep_finite(nullptr, nullptr, 0), -kInf);
}

}  // namespace
}  // namespace onebit::kernels
