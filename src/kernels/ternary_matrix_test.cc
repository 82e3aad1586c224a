// Products of ternary matrices on every instruction set: over int8 activations by the definition in
// the header, bit for bit, and equal to the plain sum where no rounding intervenes; floats within
// their bound.
#include "kernels/ternary_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <string>

#include "base/check.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

constexpr std::int64_t kTokens = 5;
/// Around words, blocks of activations and the columns that kernels treat at a time, halved: the
/// kernels see twice as many.
constexpr std::int64_t kCols[] = {1,   2,   31,  32,  63,  64,  65,   127,  128,  129,  255,
                                  256, 257, 511, 512, 513, 576, 1025, 2047, 2049, 4096, 4097};
/// Around panels.
constexpr std::int64_t kRows[] = {1, 15, 16, 17, 32, 33, 63, 64, 65, 130};

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelSet* set : available_kernels()) names.emplace_back(set->name);
  return names;
}

struct RandomTernary {
  RandomTernary(Rng& rng, std::int64_t rows, std::int64_t columns)
      : codes(size(rows * columns)), cols(columns) {
    for (std::int8_t& code : codes)
      code = static_cast<std::int8_t>(static_cast<int>(rng.below(3)) - 1);
  }
  int at(std::int64_t r, std::int64_t c) const { return codes[size(r * cols + c)]; }

  std::vector<std::int8_t> codes;
  std::int64_t cols;
};

/// Activations given twice.
struct Twice {
  Twice(const RandomInt8& x, std::int64_t cols)
      : q(size(kTokens * QuantizedRows::stride(TernaryMatrix::twice(cols))), 77),
        scales(size(kTokens * QuantizedRows::blocks(TernaryMatrix::twice(cols)))) {
    TernaryMatrix::repeat(x.rows(), cols, kTokens, q.data(), scales.data());
  }
  QuantizedRows rows() const { return {q.data(), scales.data()}; }

  std::vector<std::int8_t> q;
  std::vector<float> scales;
};

class Ternary : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelSet& k() const { return kernels_by_name(GetParam()); }

  /// Both products of one shape, with scales of rows or without, for all rows and for a part.
  void check(Rng& rng, std::int64_t rows, std::int64_t cols, bool scaled) const {
    const RandomTernary codes(rng, rows, cols);
    const std::vector<float> h = scaled ? random_floats(rng, rows) : std::vector<float>{};
    const TernaryMatrix w(k(), codes.codes, rows, cols, h);
    const RandomInt8 rounded(rng, kTokens, cols);
    const Twice twice(rounded, cols);
    const std::vector<float> x = random_floats(rng, kTokens * cols);
    std::vector<float> x_twice(size(kTokens * TernaryMatrix::twice(cols)));
    TernaryMatrix::repeat(x.data(), cols, kTokens, x_twice.data());
    const std::int64_t begin = rows / 3;
    std::vector<float> y(size(kTokens * rows));
    std::vector<float> y_f32(y.size());
    std::vector<float> part(y.size(), -77.25F);
    w.gemm_i8(twice.rows(), kTokens, y.data(), rows, 0, rows);
    w.gemm_f32(x_twice.data(), kTokens, y_f32.data(), rows, 0, rows);
    w.gemm_i8(twice.rows(), kTokens, part.data(), rows, begin, rows);
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const std::int8_t* q = rounded.q.data() + t * QuantizedRows::stride(cols);
      for (std::int64_t r = 0; r < rows; ++r) {
        const float by = scaled ? h[size(r)] : 1.0F;
        const std::size_t i = size(t * rows + r);
        ASSERT_EQ(y[i], int8_reference(codes, rounded, q, t, r, by))
            << "token " << t << ", row " << r;
        ASSERT_EQ(part[i], r < begin ? -77.25F : y[i]) << "token " << t << ", row " << r;
        double sum = 0;
        double magnitudes = 0;
        for (std::int64_t c = 0; c < cols; ++c) {
          const double value = x[size(t * cols + c)];
          sum += by * codes.at(r, c) * value;
          magnitudes += std::abs(value);
        }
        const double bound =
            std::abs(by) * static_cast<double>(TernaryMatrix::twice(cols)) * 0x1p-23 * magnitudes;
        ASSERT_NEAR(y_f32[i], sum, bound) << "token " << t << ", row " << r;
      }
    }
  }

 private:
  /// By the definition of gemm_i8.
  static float int8_reference(const RandomTernary& codes, const RandomInt8& x, const std::int8_t* q,
                              std::int64_t token, std::int64_t r, float h) {
    float sum = 0;
    for (const int sign_of_zero : {1, -1}) {
      for (std::int64_t begin = 0; begin < codes.cols; begin += kActivationBlock) {
        std::int32_t dot = 0;
        for (std::int64_t c = begin; c < std::min(begin + kActivationBlock, codes.cols); ++c) {
          const int code = codes.at(r, c);
          dot += (code != 0 ? code : sign_of_zero) * q[c];
        }
        sum = std::fma(
            static_cast<float>(dot),
            x.scales[size(token * QuantizedRows::blocks(codes.cols) + begin / kActivationBlock)],
            sum);
      }
    }
    return sum * (h / 2);
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Ternary, ::testing::ValuesIn(isa_names()),
                         [](const auto& isa) { return isa.param; });

TEST_P(Ternary, ProductsOfAnyNumberOfColumns) {
  Rng rng(51);
  for (const std::int64_t cols : kCols) {
    SCOPED_TRACE(cols);
    check(rng, 17, cols, /*scaled=*/true);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Ternary, ProductsOfAnyNumberOfRows) {
  Rng rng(52);
  for (const std::int64_t rows : kRows) {
    SCOPED_TRACE(rows);
    check(rng, rows, 130, /*scaled=*/false);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Ternary, IntegersAreExact) {
  // Scales of 1, and sums within 2^24: y is the plain sum of integers. All zero, all one, and any.
  Rng rng(53);
  constexpr std::int64_t kAll = 300;
  for (const int code : {-1, 0, 1, 2}) {
    RandomTernary codes(rng, 3, kAll);
    if (code < 2) std::memset(codes.codes.data(), code, codes.codes.size());
    RandomInt8 x(rng, kTokens, kAll);
    for (std::int64_t t = 0; code < 2 && t < kTokens; ++t) {
      std::memset(x.q.data() + t * QuantizedRows::stride(kAll), 127, size(kAll));
    }
    std::fill(x.scales.begin(), x.scales.end(), 1.0F);
    const Twice twice(x, kAll);
    const TernaryMatrix w(k(), codes.codes, 3, kAll, {});
    std::vector<float> y(kTokens * 3);
    w.gemm_i8(twice.rows(), kTokens, y.data(), 3, 0, 3);
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (std::int64_t r = 0; r < 3; ++r) {
        std::int32_t sum = 0;
        for (std::int64_t c = 0; c < kAll; ++c) {
          sum += codes.at(r, c) * x.q[size(t * QuantizedRows::stride(kAll) + c)];
        }
        EXPECT_EQ(y[size(t * 3 + r)], static_cast<float>(sum)) << code;
      }
    }
  }
}

TEST_P(Ternary, ThreadsPackTheSame) {
  Rng rng(54);
  const RandomTernary codes(rng, 131, 129);
  const std::vector<float> x = random_floats(rng, 129);
  std::vector<float> twice(size(TernaryMatrix::twice(129)));
  TernaryMatrix::repeat(x.data(), 129, 1, twice.data());
  ThreadPool pool(3);
  std::vector<float> results[2];
  for (int i = 0; i < 2; ++i) {
    const TernaryMatrix w(k(), codes.codes, 131, 129, {}, i == 0 ? nullptr : &pool);
    EXPECT_EQ(w.rows(), 131);
    EXPECT_EQ(w.cols(), 129);
    results[i].resize(131);
    w.gemm_f32(twice.data(), 1, results[i].data(), 131, 0, 131);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_P(Ternary, WrongSizesAreRefused) {
  const std::vector<std::int8_t> codes(6);
  const std::vector<float> h(3);
  EXPECT_THROW(TernaryMatrix(k(), codes, 2, 4, {}), InternalError);
  EXPECT_THROW(TernaryMatrix(k(), codes, 2, 3, h), InternalError);
}

}  // namespace
}  // namespace onebit::kernels
