// 1-bit products on a GPU against the scalar kernels: over int8 activations bit for bit, over f32
// within the bound of kernels.h from double precision; no write outside the result. Both kernels
// are run on every number of tokens, whichever products.cc would choose.
#include "cuda/products.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "cuda/product_kernels.h"
#include "cuda/test_gpu.h"
#include "kernels/kernels.h"
#include "kernels/sign_matrix.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;
using kernels::random_floats;
using kernels::RandomInt8;
using kernels::RandomSigns;
using kernels::SignMatrix;
using kernels::size;

/// 1 to 19, and around the tiles of 8 and 64 tokens.
constexpr std::int64_t kTokens[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,  13,
                                    14, 15, 16, 17, 18, 19, 63, 64, 65, 96, 97, 129, 513};
constexpr float kCanary = -77.25F;

const kernels::KernelSet& scalar() { return kernels::kernels_by_name("scalar"); }

/// Int8 activations on the device.
struct DeviceInt8 {
  explicit DeviceInt8(const RandomInt8& x)
      : q(std::span<const std::int8_t>(x.q)), scales(std::span<const float>(x.scales)) {}

  QuantizedRows rows() const { return {q.data(), scales.data()}; }

  DeviceBuffer<std::int8_t> q;
  DeviceBuffer<float> scales;
};

/// What the scalar kernels give, [tokens, rows]: h [rows], or empty, or with groups.
std::vector<float> scalar_int8(const RandomSigns& s, const std::vector<float>& h,
                               std::int64_t group, const RandomInt8& x, std::int64_t tokens) {
  const std::int64_t rows = s.view.rows;
  std::vector<float> y(size(tokens * rows));
  const SignMatrix w(scalar(), s.view, h, group);
  if (group != 0) {
    scalar().gemm_sign1_grouped_i8(w.grouped(), x.rows(), tokens, y.data(), rows, 0, rows);
  } else {
    scalar().gemm_sign1_i8(w.signs(), h.empty() ? nullptr : h.data(), x.rows(), tokens, y.data(),
                           rows, 0, rows);
  }
  return y;
}

class CudaProducts : public GpuTest {
 protected:
  /// run(tokens, y, ldy) gives the first tokens of `want` [tokens or more, rows], NaN for NaN.
  template <class Run>
  void expect_equal(const std::vector<float>& want, std::int64_t rows, std::int64_t tokens,
                    const Run& run) const {
    const std::int64_t ldy = rows + 3;
    const DeviceBuffer<float> y = on_device(std::vector<float>(size((tokens + 1) * ldy), kCanary));
    run(tokens, y.data(), ldy);
    const std::vector<float> got = read(y);
    for (std::int64_t t = 0; t <= tokens; ++t) {
      for (std::int64_t r = 0; r < ldy; ++r) {
        const float expected = t < tokens && r < rows ? want[size(t * rows + r)] : kCanary;
        const float value = got[size(t * ldy + r)];
        if (std::isnan(expected) && std::isnan(value)) continue;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(expected))
            << "token " << t << " of " << tokens << ", row " << r << " of " << rows << ": " << value
            << ", expected " << expected;
      }
    }
  }

  /// Both kernels give what the scalar ones give.
  void expect_int8(const RandomSigns& s, const std::vector<float>& h, std::int64_t group,
                   const RandomInt8& x, std::span<const std::int64_t> numbers_of_tokens) const {
    const std::vector<float> want = scalar_int8(s, h, group, x, numbers_of_tokens.back());
    const DeviceSigns w(device_, s.view, h, group);
    const DeviceInt8 on_gpu(x);
    for (const std::int64_t tokens : numbers_of_tokens) {
      for (const auto kernel : {few_tokens_i8, many_tokens_i8}) {
        SCOPED_TRACE(kernel == few_tokens_i8 ? "few" : "many");
        expect_equal(want, s.view.rows, tokens, [&](std::int64_t n, float* y, std::int64_t ldy) {
          kernel(w, on_gpu.rows(), n, y, ldy, stream_);
        });
        if (HasFatalFailure()) return;
      }
    }
  }

  /// gemm_sign1_f32 for the most of `numbers_of_tokens` against double precision, and for the
  /// others against itself.
  void expect_f32(const RandomSigns& s, const std::vector<float>& h, std::int64_t group,
                  const std::vector<float>& x,
                  std::span<const std::int64_t> numbers_of_tokens) const {
    const std::int64_t rows = s.view.rows;
    const std::int64_t cols = s.view.cols;
    const std::int64_t most = numbers_of_tokens.back();
    const std::int64_t groups = group == 0 ? 1 : (cols + group - 1) / group;
    const DeviceSigns w(device_, s.view, h, group);
    const DeviceBuffer<float> on_gpu = on_device(x);
    const DeviceBuffer<float> y(most * rows);
    gemm_sign1_f32(w, on_gpu.data(), most, y.data(), rows, stream_);
    const std::vector<float> got = read(y);
    for (std::int64_t t = 0; t < most; ++t) {
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        double magnitudes = 0;
        for (std::int64_t c = 0; c < cols; ++c) {
          const std::int64_t g = group == 0 ? 0 : c / group;
          const double scale = h.empty() ? 1.0 : h[size(r * groups + g)];
          const double product = scale * s.at(r, c) * x[size(t * cols + c)];
          sum += product;
          magnitudes += std::abs(product);
        }
        // As bound() in src/kernels/gemm_test.cc has it.
        ASSERT_NEAR(got[size(t * rows + r)], sum,
                    static_cast<double>(cols) * (0x1p-23 * magnitudes + 0x1p-149))
            << "token " << t << ", row " << r;
      }
    }
    for (const std::int64_t tokens : numbers_of_tokens) {
      expect_equal(got, rows, tokens, [&](std::int64_t n, float* to, std::int64_t ldy) {
        gemm_sign1_f32(w, on_gpu.data(), n, to, ldy, stream_);
      });
      if (HasFatalFailure()) return;
    }
    // Where rows do not begin at multiples of 16 bytes: the same.
    std::vector<float> moved(x);
    moved.insert(moved.begin(), 0.0F);
    const DeviceBuffer<float> moved_on_gpu = on_device(moved);
    expect_equal(got, rows, most, [&](std::int64_t n, float* to, std::int64_t ldy) {
      gemm_sign1_f32(w, moved_on_gpu.data() + 1, n, to, ldy, stream_);
    });
  }
};

TEST_F(CudaProducts, Int8IsExact) {
  Rng rng(51);
  for (const std::int64_t rows : {1, 31, 32, 33, 65, 257}) {
    for (const std::int64_t cols : {1, 63, 64, 65, 127, 128, 129, 576, 1100, 4097}) {
      if (rows * cols > 65 * 4097) continue;
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      const RandomSigns s(rng, rows, cols);
      const RandomInt8 x(rng, kTokens[std::size(kTokens) - 1], cols);
      expect_int8(s, random_floats(rng, rows), 0, x, kTokens);
      if (rows == 33) expect_int8(s, {}, 0, x, kTokens);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(CudaProducts, TallTilesAreExactToo) {
  // The fewer multiprocessors, the more panels of rows a block of threads takes.
  Rng rng(58);
  constexpr std::int64_t kSomeTokens[] = {1, 65, 129};
  const RandomSigns s(rng, 257, 300);
  const RandomInt8 x(rng, 129, 300);
  for (const int multiprocessors : {1, 5, 1000}) {
    SCOPED_TRACE(multiprocessors);
    device_.multiprocessors = multiprocessors;
    expect_int8(s, random_floats(rng, 257), 0, x, kSomeTokens);
    expect_int8(s, random_floats(rng, 257 * 10), 32, x, kSomeTokens);
    if (HasFatalFailure()) return;
  }
}

TEST_F(CudaProducts, GroupedInt8IsExact) {
  Rng rng(52);
  constexpr std::int64_t kSomeTokens[] = {1, 7, 8, 9, 64, 65, 129};
  for (const std::int64_t rows : {1, 33, 133}) {
    for (const std::int64_t cols : {1, 63, 65, 129, 576, 1100, 4097}) {
      for (const std::int64_t group : {16, 32, 64, 128}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << cols << " in groups of " << group);
        const RandomSigns s(rng, rows, cols);
        const std::int64_t groups = (cols + group - 1) / group;
        const RandomInt8 x(rng, 129, cols);
        expect_int8(s, random_floats(rng, rows * groups), group, x, kSomeTokens);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(CudaProducts, Int8AtItsExtremes) {
  // All +127 or -127 against all signs: every sum takes the largest value it can.
  constexpr std::int64_t kSomeTokens[] = {1, 65};
  for (const std::int64_t cols : {64, 256, 4160, 20000}) {
    for (const int value : {127, -127}) {
      for (const std::uint64_t word : {0ULL, ~0ULL}) {
        Rng rng(1);
        RandomSigns s(rng, 8, cols);
        for (std::int64_t r = 0; r < 8; ++r) {
          for (std::int64_t c = 0; c < cols; c += 64) {
            const std::uint64_t used = cols - c < 64 ? (1ULL << (cols - c)) - 1 : ~0ULL;
            s.words[size(r * formats::sign1_row_words(cols) + c / 64)] = word & used;
          }
        }
        RandomInt8 x(rng, 65, cols);
        for (std::int64_t t = 0; t < 65; ++t) {
          std::memset(x.q.data() + t * QuantizedRows::stride(cols), value, size(cols));
        }
        expect_int8(s, {}, 0, x, kSomeTokens);
        for (const std::int64_t group : {16, 128}) {
          const std::int64_t groups = (cols + group - 1) / group;
          expect_int8(s, random_floats(rng, 8 * groups), group, x, kSomeTokens);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(CudaProducts, NanInOneTokenStaysInThatToken) {
  Rng rng(53);
  constexpr std::int64_t kSomeTokens[] = {9, 65};
  const std::int64_t cols = 300;
  const RandomSigns s(rng, 40, cols);
  RandomInt8 x(rng, 65, cols);
  x.scales[size(3 * QuantizedRows::blocks(cols) + 2)] = std::numeric_limits<float>::quiet_NaN();
  expect_int8(s, {}, 0, x, kSomeTokens);
  expect_int8(s, random_floats(rng, 40 * 10), 32, x, kSomeTokens);
  std::vector<float> values = random_floats(rng, 65 * cols);
  values[size(2 * cols + 299)] = std::numeric_limits<float>::quiet_NaN();
  const DeviceSigns w(device_, s.view, {}, 0);
  const DeviceBuffer<float> on_gpu = on_device(values);
  const DeviceBuffer<float> y(65 * 40);
  gemm_sign1_f32(w, on_gpu.data(), 65, y.data(), 40, stream_);
  const std::vector<float> got = read(y);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i / 40 == 2);
}

TEST_F(CudaProducts, F32) {
  Rng rng(54);
  constexpr std::int64_t kSomeTokens[] = {1, 2, 3, 4, 5, 8, 9, 19, 65};
  for (const std::int64_t rows : {1, 33, 133}) {
    for (const std::int64_t cols : {1, 2, 63, 64, 127, 128, 129, 576, 1531, 4097}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      const RandomSigns s(rng, rows, cols);
      const std::vector<float> x = random_floats(rng, 65 * cols);
      expect_f32(s, random_floats(rng, rows), 0, x, kSomeTokens);
      if (rows == 33) expect_f32(s, {}, 0, x, kSomeTokens);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(CudaProducts, GroupedF32) {
  Rng rng(55);
  constexpr std::int64_t kSomeTokens[] = {1, 4, 5, 17};
  for (const std::int64_t cols : {1, 63, 65, 129, 576, 1100, 4097}) {
    for (const std::int64_t group : {16, 32, 64, 128}) {
      SCOPED_TRACE(testing::Message() << cols << " in groups of " << group);
      const RandomSigns s(rng, 45, cols);
      const std::int64_t groups = (cols + group - 1) / group;
      const std::vector<float> x = random_floats(rng, 17 * cols);
      expect_f32(s, random_floats(rng, 45 * groups), group, x, kSomeTokens);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(CudaProducts, ALargeMatrixIsWhatEveryCpuGives) {
  Rng rng(56);
  const std::int64_t rows = 4097;
  const std::int64_t cols = 4097;
  const RandomSigns s(rng, rows, cols);
  const std::vector<float> h = random_floats(rng, rows);
  const RandomInt8 x(rng, 513, cols);
  const kernels::KernelSet& k = kernels::best_kernels();
  std::vector<float> want(size(513 * rows));
  const SignMatrix packed(k, s.view, {}, 0);
  k.gemm_sign1_i8(packed.signs(), h.data(), x.rows(), 513, want.data(), rows, 0, rows);
  const DeviceSigns w(device_, s.view, h, 0);
  const DeviceInt8 on_gpu(x);
  for (const std::int64_t tokens : {1, 96, 97, 513}) {
    expect_equal(want, rows, tokens, [&](std::int64_t n, float* y, std::int64_t ldy) {
      gemm_sign1_i8(w, on_gpu.rows(), n, y, ldy, stream_);
    });
    if (HasFatalFailure()) return;
  }
}

TEST_F(CudaProducts, AChainOfKernelsWaitsForEachOther) {
  // Kernels may start before the one before them has ended: here each reads what that one writes,
  // and writes what the one before it has read.
  Rng rng(57);
  const std::int64_t n = 640;
  const RandomSigns s(rng, n, n);
  const std::vector<float> h(size(n), 0.05F);
  const std::vector<float> x = random_floats(rng, n);
  const kernels::KernelSet& k = scalar();
  const SignMatrix on_cpu(k, s.view, {}, 0);
  const DeviceSigns w(device_, s.view, h, 0);
  const DeviceBuffer<std::int8_t> q(QuantizedRows::stride(n));
  const DeviceBuffer<float> scales(QuantizedRows::blocks(n));
  const DeviceBuffer<float> y = on_device(x);
  std::vector<std::int8_t> want_q(size(QuantizedRows::stride(n)));
  std::vector<float> want_scales(size(QuantizedRows::blocks(n)));
  std::vector<float> want(x);
  for (int step = 0; step < 200; ++step) {
    quantize_i8(device_, y.data(), nullptr, 1, n, q.data(), scales.data(), stream_);
    gemm_sign1_i8(w, {q.data(), scales.data()}, 1, y.data(), n, stream_);
    k.quantize_i8(want.data(), nullptr, n, want_q.data(), want_scales.data());
    k.gemm_sign1_i8(on_cpu.signs(), h.data(), {want_q.data(), want_scales.data()}, 1, want.data(),
                    n, 0, n);
  }
  EXPECT_EQ(read(y), want);
}

}  // namespace
}  // namespace onebit::cuda
