// Matrix kernels of every instruction set that this CPU runs: integers exactly, floats within the
// bound of kernels.h from a double-precision reference, no write outside the range of rows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <span>
#include <string>

#include "kernels/block_matrix.h"
#include "kernels/kernels.h"
#include "kernels/sign_matrix.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

constexpr std::int64_t kMaxRows = 133;
/// Around vectors, steps, words, blocks of activations, and the columns that kernels treat at a
/// time: 1024, 1536 and 4096.
constexpr std::int64_t kCols[] = {1,   2,   31,   32,   33,   63,   64,   65,   127,  128,
                                  129, 576, 1023, 1024, 1025, 1536, 1537, 4095, 4096, 4097};
constexpr std::int64_t kGroupedCols[] = {1,   31,  33,   63,   64,   65,   127,  128,
                                         129, 576, 1023, 1024, 1025, 4095, 4096, 4097};
constexpr std::int64_t kBlockCols[] = {32,  64,   96,   128,  160,  576,
                                       992, 1024, 1536, 1568, 4096, 4128};

struct RowRange {
  std::int64_t begin;
  std::int64_t end;
};

/// The numbers of tokens, in rising order, and ranges of kMaxRows rows that a matrix is tested
/// with.
struct Cover {
  std::span<const std::int64_t> tokens;
  std::span<const RowRange> ranges;

  std::int64_t most_tokens() const { return tokens.back(); }
};

/// All that may matter where a product is quick, the rest with what its blocks need. Ranges have
/// sizes 1, 2, 3, 7, 16, 64, 133, and start and end on and off every tile and panel.
Cover cover(std::int64_t cols) {
  static constexpr std::int64_t kTokens[] = {1, 2, 3, 5, 8, 17, 65};
  static constexpr RowRange kRanges[] = {{0, 133}, {0, 1},     {132, 133}, {5, 7},
                                         {0, 3},   {1, 8},     {7, 23},    {64, 80},
                                         {13, 13}, {128, 131}, {1, 132},   {60, 68}};
  static constexpr std::int64_t kFewTokens[] = {1, 3, 17};
  static constexpr RowRange kFewRanges[] = {{0, 133}, {7, 23}, {128, 131}};
  return cols < 200 ? Cover{kTokens, kRanges} : Cover{kFewTokens, kFewRanges};
}

/// The smallest and the largest will do where there are many columns.
std::span<const std::int64_t> group_sizes(std::int64_t cols) {
  static constexpr std::int64_t kSizes[] = {16, 128, 32, 64};
  return {kSizes, cols < 1000 ? std::size(kSizes) : 2U};
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelSet* set : available_kernels()) names.emplace_back(set->name);
  return names;
}

class Gemm : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelSet& k() const { return kernels_by_name(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Isa, Gemm, ::testing::ValuesIn(isa_names()),
                         [](const auto& isa) { return isa.param; });

/// Calls gemm(tokens, y, ldy, begin, end) for every number of tokens and range of rows, and expects
/// `want` [most tokens, kMaxRows] bit for bit inside the range and untouched canaries elsewhere.
template <class T, class Call>
void expect_everywhere(const Cover& covered, const std::vector<T>& want, T canary,
                       const Call& call) {
  constexpr std::int64_t kLdy = kMaxRows + 3;
  for (const std::int64_t tokens : covered.tokens) {
    for (const RowRange range : covered.ranges) {
      std::vector<T> y(size((tokens + 1) * kLdy), canary);
      call(tokens, y.data(), kLdy, range.begin, range.end);
      for (std::int64_t t = 0; t <= tokens; ++t) {
        for (std::int64_t r = 0; r < kLdy; ++r) {
          const bool inside = t < tokens && r >= range.begin && r < range.end;
          const T expected = inside ? want[size(t * kMaxRows + r)] : canary;
          const T got = y[size(t * kLdy + r)];
          ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected))
              << "token " << t << " of " << tokens << ", row " << r << " of [" << range.begin
              << ", " << range.end << "): " << got << ", expected " << expected;
        }
      }
    }
  }
}

/// kernels.h: in · 2^-23 · Σ|w x|. Summing n products in any order errs by at most (n - 1 + 1) u
/// Σ|w x| to first order, u = 2^-24, one u for each product's rounding; twice that absorbs the
/// higher orders (n u < 2^-11 here). A product that underflows adds up to 2^-150 more.
double bound(std::int64_t in, double sum_of_magnitudes) {
  return static_cast<double>(in) * (0x1p-23 * sum_of_magnitudes + 0x1p-149);
}

/// `call` for all tokens and rows against double precision, then everywhere against itself.
template <class Weight, class Call>
void check_float(std::int64_t in, const std::vector<float>& x, const Weight& weight,
                 const Call& call) {
  const Cover covered = cover(in);
  const std::int64_t tokens = covered.most_tokens();
  std::vector<float> y(size(tokens * kMaxRows));
  call(tokens, y.data(), kMaxRows, 0, kMaxRows);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < kMaxRows; ++r) {
      double sum = 0;
      double magnitudes = 0;
      for (std::int64_t c = 0; c < in; ++c) {
        const double product = static_cast<double>(weight(r, c)) * x[size(t * in + c)];
        sum += product;
        magnitudes += std::abs(product);
      }
      ASSERT_NEAR(y[size(t * kMaxRows + r)], sum, bound(in, magnitudes))
          << "in " << in << ", token " << t << ", row " << r;
    }
  }
  expect_everywhere(covered, y, -77.25F, call);
}

TEST_P(Gemm, Sign1F32) {
  Rng rng(11);
  for (const std::int64_t cols : kCols) {
    const RandomSigns s(rng, kMaxRows, cols);
    const SignMatrix w(k(), s.view, {}, 0);
    const std::vector<float> x = random_floats(rng, cover(cols).most_tokens() * cols);
    const std::vector<float> scales = random_floats(rng, kMaxRows);
    for (const float* h : {static_cast<const float*>(nullptr), scales.data()}) {
      SCOPED_TRACE(testing::Message() << cols << (h != nullptr ? " columns, scaled" : " columns"));
      check_float(
          cols, x,
          [&](std::int64_t r, std::int64_t c) {
            return s.at(r, c) * (h != nullptr ? static_cast<double>(h[r]) : 1.0);
          },
          [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin,
              std::int64_t end) {
            k().gemm_sign1_f32(w.signs(), h, x.data(), tokens, y, ldy, begin, end);
          });
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Gemm, Sign1GroupedF32) {
  Rng rng(16);
  for (const std::int64_t cols : kGroupedCols) {
    for (const std::int64_t group : group_sizes(cols)) {
      SCOPED_TRACE(testing::Message() << cols << " in groups of " << group);
      const RandomSigns s(rng, kMaxRows, cols);
      const std::int64_t groups = (cols + group - 1) / group;
      const std::vector<float> h = random_floats(rng, kMaxRows * groups);
      const SignMatrix w(k(), s.view, h, group);
      const std::vector<float> x = random_floats(rng, cover(cols).most_tokens() * cols);
      check_float(
          cols, x,
          [&](std::int64_t r, std::int64_t c) {
            return s.at(r, c) * static_cast<double>(h[size(r * groups + c / group)]);
          },
          [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin,
              std::int64_t end) {
            k().gemm_sign1_grouped_f32(w.grouped(), x.data(), tokens, y, ldy, begin, end);
          });
      if (HasFatalFailure()) return;
    }
  }
}

/// Σ S q over columns [begin, end) of row r.
std::int32_t dot(const RandomSigns& s, std::int64_t r, const std::int8_t* q, std::int64_t begin,
                 std::int64_t end) {
  std::int32_t sum = 0;
  for (std::int64_t c = begin; c < end; ++c) sum += s.at(r, c) * q[c];
  return sum;
}

/// y [most tokens, kMaxRows] by the definitions of gemm_sign1_i8 and gemm_sign1_grouped_i8: groups
/// of `group` columns, term(sum, dot, scale, row, group) the next sum.
template <class Term>
std::vector<float> int8_reference(const RandomSigns& s, const RandomInt8& x, std::int64_t cols,
                                  std::int64_t group, const Term& term) {
  std::vector<float> want;
  for (std::int64_t t = 0; t < cover(cols).most_tokens(); ++t) {
    for (std::int64_t r = 0; r < kMaxRows; ++r) {
      float sum = 0;
      for (std::int64_t c = 0; c < cols; c += group) {
        const std::int32_t part =
            dot(s, r, x.q.data() + t * QuantizedRows::stride(cols), c, std::min(c + group, cols));
        const float scale = x.scales[size(t * QuantizedRows::blocks(cols) + c / kActivationBlock)];
        sum = term(sum, static_cast<float>(part), scale, r, c / group);
      }
      want.push_back(sum);
    }
  }
  return want;
}

TEST_P(Gemm, Sign1Int8IsExact) {
  Rng rng(12);
  for (const std::int64_t cols : kCols) {
    SCOPED_TRACE(cols);
    const RandomSigns s(rng, kMaxRows, cols);
    const SignMatrix w(k(), s.view, {}, 0);
    const RandomInt8 x(rng, cover(cols).most_tokens(), cols);
    const std::vector<float> h = random_floats(rng, kMaxRows);
    std::vector<float> want = int8_reference(
        s, x, cols, kActivationBlock,
        [](float sum, float dot, float scale, auto, auto) { return std::fma(dot, scale, sum); });
    expect_everywhere(
        cover(cols), want, -77.25F,
        [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
          k().gemm_sign1_i8(w.signs(), nullptr, x.rows(), tokens, y, ldy, begin, end);
        });
    for (std::size_t i = 0; i < want.size(); ++i) want[i] *= h[i % size(kMaxRows)];
    expect_everywhere(
        cover(cols), want, -77.25F,
        [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
          k().gemm_sign1_i8(w.signs(), h.data(), x.rows(), tokens, y, ldy, begin, end);
        });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, Sign1GroupedInt8IsExact) {
  Rng rng(17);
  for (const std::int64_t cols : kGroupedCols) {
    for (const std::int64_t group : group_sizes(cols)) {
      SCOPED_TRACE(testing::Message() << cols << " in groups of " << group);
      const RandomSigns s(rng, kMaxRows, cols);
      const std::int64_t groups = (cols + group - 1) / group;
      const std::vector<float> h = random_floats(rng, kMaxRows * groups);
      const SignMatrix w(k(), s.view, h, group);
      const RandomInt8 x(rng, cover(cols).most_tokens(), cols);
      const std::vector<float> want =
          int8_reference(s, x, cols, group,
                         [&](float sum, float dot, float scale, std::int64_t r, std::int64_t g) {
                           return std::fma(dot * scale, h[size(r * groups + g)], sum);
                         });
      expect_everywhere(cover(cols), want, -77.25F,
                        [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin,
                            std::int64_t end) {
                          k().gemm_sign1_grouped_i8(w.grouped(), x.rows(), tokens, y, ldy, begin,
                                                    end);
                        });
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Gemm, Sign1OfAnyNumberOfRows) {
  // Matrices whose last panel has any of its rows: against the scalar set, which has no panels.
  const KernelSet& scalar = kernels_by_name("scalar");
  Rng rng(19);
  constexpr std::int64_t kTokens = 3;
  constexpr std::int64_t kGroup = 32;
  for (const std::int64_t cols : {33, 129}) {
    const std::int64_t groups = (cols + kGroup - 1) / kGroup;
    const std::vector<float> x = random_floats(rng, kTokens * cols);
    const RandomInt8 q(rng, kTokens, cols);
    for (const std::int64_t rows : {1,  2,  15,  16,  17,  31,   32,   33,   47,   63,   64,
                                    65, 95, 127, 128, 129, 1023, 1024, 1025, 4095, 4096, 4097}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      const RandomSigns s(rng, rows, cols);
      const std::vector<float> h = random_floats(rng, rows * groups);
      // With |x| <= 3 and |h| <= 3, twice the bound of kernels.h.
      const double bound =
          2.0 * static_cast<double>(cols) * 0x1p-23 * 9 * static_cast<double>(cols);
      const auto compare = [&](double tolerance, auto call) {
        std::vector<float> want(size(kTokens * rows));
        call(scalar, want.data(), std::int64_t{0}, rows);
        // All rows, the last one, and all but the first and the last.
        for (const RowRange range : {RowRange{0, rows}, {rows - 1, rows}, {1, rows - 1}}) {
          if (range.begin > range.end) continue;
          std::vector<float> y(size(kTokens * rows), -77.25F);
          call(k(), y.data(), range.begin, range.end);
          for (std::int64_t i = 0; i < kTokens * rows; ++i) {
            if (i % rows >= range.begin && i % rows < range.end) {
              ASSERT_NEAR(y[size(i)], want[size(i)], tolerance) << i / rows << ", row " << i % rows;
            } else {
              ASSERT_EQ(y[size(i)], -77.25F) << i / rows << ", row " << i % rows;
            }
          }
        }
      };
      const auto signs = [&](const KernelSet& set) { return SignMatrix(set, s.view, {}, 0); };
      const auto grouped = [&](const KernelSet& set) { return SignMatrix(set, s.view, h, kGroup); };
      compare(bound, [&](const KernelSet& set, float* y, std::int64_t begin, std::int64_t end) {
        set.gemm_sign1_f32(signs(set).signs(), h.data(), x.data(), kTokens, y, rows, begin, end);
      });
      compare(0, [&](const KernelSet& set, float* y, std::int64_t begin, std::int64_t end) {
        set.gemm_sign1_i8(signs(set).signs(), h.data(), q.rows(), kTokens, y, rows, begin, end);
      });
      compare(bound, [&](const KernelSet& set, float* y, std::int64_t begin, std::int64_t end) {
        set.gemm_sign1_grouped_f32(grouped(set).grouped(), x.data(), kTokens, y, rows, begin, end);
      });
      compare(0, [&](const KernelSet& set, float* y, std::int64_t begin, std::int64_t end) {
        set.gemm_sign1_grouped_i8(grouped(set).grouped(), q.rows(), kTokens, y, rows, begin, end);
      });
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Gemm, Sign1Int8AtItsExtremes) {
  // All +127 or -127 against all signs: every partial sum takes the largest value it can, which
  // finds a saturating or too narrow accumulator. All sums stay within 2^24: exact in f32.
  for (const std::int64_t cols : {64, 256, 4096, 4160, 20000}) {
    for (const int value : {127, -127}) {
      for (const std::uint64_t word : {0ULL, ~0ULL}) {
        Rng rng(1);
        RandomSigns s(rng, 8, cols);
        for (std::uint64_t& bits : s.words) bits = word;
        const std::int64_t row_words = formats::sign1_row_words(cols);
        if (cols % 64 != 0) {
          for (std::int64_t r = 0; r < 8; ++r) {
            s.words[size((r + 1) * row_words - 1)] &= (1ULL << (cols % 64)) - 1;
          }
        }
        RandomInt8 x(rng, 7, cols);
        for (std::int64_t t = 0; t < 7; ++t) {
          std::memset(x.q.data() + t * QuantizedRows::stride(cols), value, size(cols));
        }
        std::fill(x.scales.begin(), x.scales.end(), 1.0F);
        const auto want = static_cast<float>(cols * value * (word == 0 ? 1 : -1));
        std::vector<float> y(7 * 8);
        const SignMatrix w(k(), s.view, {}, 0);
        for (const std::int64_t tokens : {1, 7}) {
          k().gemm_sign1_i8(w.signs(), nullptr, x.rows(), tokens, y.data(), 8, 0, 8);
          for (std::int64_t i = 0; i < tokens * 8; ++i) {
            EXPECT_EQ(y[size(i)], want) << cols << " x " << value;
          }
        }
        for (const std::int64_t group : {16, 128}) {
          const std::vector<float> h(size(8 * ((cols + group - 1) / group)), 1.0F);
          const SignMatrix grouped(k(), s.view, h, group);
          k().gemm_sign1_grouped_i8(grouped.grouped(), x.rows(), 7, y.data(), 8, 0, 8);
          EXPECT_EQ(y, std::vector<float>(7 * 8, want)) << cols << " in " << group;
        }
      }
    }
  }
}

template <class W, class Make>
void check_dense(DenseGemm<W> gemm, std::int64_t in, const Make& make) {
  Rng rng(static_cast<std::uint64_t>(in));
  DenseMatrix<W> w;
  make(rng, kMaxRows * in, w);
  const std::vector<float> x = random_floats(rng, cover(in).most_tokens() * in);
  check_float(
      in, x, [&](std::int64_t r, std::int64_t c) { return w.values[size(r * in + c)]; },
      [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
        gemm(w.stored.data(), in, x.data(), tokens, y, ldy, begin, end);
      });
}

TEST_P(Gemm, F32) {
  for (const std::int64_t in : kCols) {
    SCOPED_TRACE(in);
    check_dense<float>(k().gemm_f32, in,
                       [](Rng& rng, std::int64_t n, auto& m) { make_dense(rng, n, m); });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, F16) {
  for (const std::int64_t in : kCols) {
    SCOPED_TRACE(in);
    check_dense<f16_bits>(k().gemm_f16, in, [](Rng& rng, std::int64_t n, auto& m) {
      make_dense16(rng, n, DenseType::kF16, m);
    });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, BF16) {
  for (const std::int64_t in : kCols) {
    SCOPED_TRACE(in);
    check_dense<bf16_bits>(k().gemm_bf16, in, [](Rng& rng, std::int64_t n, auto& m) {
      make_dense16(rng, n, DenseType::kBF16, m);
    });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, Q8_0) {
  for (const std::int64_t in : kBlockCols) {
    SCOPED_TRACE(in);
    check_dense<formats::BlockQ8_0>(
        k().gemm_q8_0, in, [](Rng& rng, std::int64_t n, auto& m) { make_dense(rng, n, m); });
    if (HasFatalFailure()) return;
  }
}

std::int32_t integer(const formats::BlockQ8_0& block, std::int64_t i) { return block.qs[i]; }
std::int32_t integer(const formats::BlockQ4_0& block, std::int64_t i) {
  return (i < 16 ? block.qs[i] % 16 : block.qs[i - 16] / 16) - 8;
}

/// Blocks over int8 activations by the definition in kernels.h.
template <class Block>
void check_blocks_int8(const KernelSet& k, formats::DType type) {
  Rng rng(18);
  // All values at their extremes in the first.
  for (const std::int64_t in : kBlockCols) {
    SCOPED_TRACE(in);
    const std::int64_t tokens = cover(in).most_tokens();
    DenseMatrix<Block> w;
    make_dense(rng, kMaxRows * in, w);
    RandomInt8 x(rng, tokens, in);
    if (in == 32) {
      for (std::size_t r = 0; r < w.stored.size(); ++r) {
        std::memset(w.stored[r].qs, r % 2 == 0 ? 0x80 : 0x7F, sizeof(w.stored[r].qs));
      }
      for (std::int64_t t = 0; t < tokens; ++t) {
        std::memset(x.q.data() + t * QuantizedRows::stride(in), t % 2 == 0 ? -127 : 127, size(in));
      }
    }
    const BlockMatrix packed(k, type, reinterpret_cast<const std::byte*>(w.stored.data()), kMaxRows,
                             in);
    const std::int64_t blocks = in / formats::kQuantBlock;
    std::vector<float> want;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t r = 0; r < kMaxRows; ++r) {
        float sum = 0;
        for (std::int64_t b = 0; b < blocks; ++b) {
          const Block& block = w.stored[size(r * blocks + b)];
          std::int32_t dot = 0;
          for (std::int64_t i = 0; i < formats::kQuantBlock; ++i) {
            dot += integer(block, i) *
                   x.q[size(t * QuantizedRows::stride(in) + b * formats::kQuantBlock + i)];
          }
          const float scale = x.scales[size(t * QuantizedRows::blocks(in) +
                                            b * formats::kQuantBlock / kActivationBlock)];
          sum = std::fma(static_cast<float>(dot) * scale, f16_to_f32(block.d), sum);
        }
        want.push_back(sum);
      }
    }
    expect_everywhere(
        cover(in), want, -77.25F,
        [&](std::int64_t count, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
          packed.gemm()(packed.blocks(), x.rows(), count, y, ldy, begin, end);
        });
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(Gemm, Q8_0Int8IsExact) { check_blocks_int8<formats::BlockQ8_0>(k(), formats::DType::kQ8_0); }

TEST_P(Gemm, Q4_0Int8IsExact) { check_blocks_int8<formats::BlockQ4_0>(k(), formats::DType::kQ4_0); }

TEST_P(Gemm, Q4_1) {
  for (const std::int64_t in : kBlockCols) {
    SCOPED_TRACE(in);
    check_dense<formats::BlockQ4_1>(
        k().gemm_q4_1, in, [](Rng& rng, std::int64_t n, auto& m) { make_dense(rng, n, m); });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, EveryF16AndBF16ValueIsDecodedExactly) {
  // One weight a row times 1: the decoder alone. NaN stays NaN.
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  for (const std::int64_t tokens : {1, 8}) {  // decoded in registers, and as a panel
    const std::vector<float> x(size(tokens), 1.0F);
    std::vector<float> y(bits.size() * size(tokens));
    k().gemm_f16(bits.data(), 1, x.data(), tokens, y.data(), 65536, 0, 65536);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const float want = f16_to_f32(bits[i]);
      ASSERT_TRUE(y[i] == want || (std::isnan(y[i]) && std::isnan(want))) << i;
    }
    k().gemm_bf16(bits.data(), 1, x.data(), tokens, y.data(), 65536, 0, 65536);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const float want = bf16_to_f32(bits[i]);
      ASSERT_TRUE(y[i] == want || (std::isnan(y[i]) && std::isnan(want))) << i;
    }
  }
}

TEST_P(Gemm, ExtremeFloats) {
  // Magnitudes from subnormal to 1e37, cancelling: the bound must hold there too.
  for (const float magnitude : {1e-42F, 1e-30F, 1e30F, 1e37F}) {
    const std::int64_t in = 129;
    Rng rng(5);
    DenseMatrix<float> w;
    make_dense(rng, kMaxRows * in, w);
    for (float& v : w.values) v = v < 0 ? -1.0F : 1.0F;
    w.stored = w.values;
    std::vector<float> x = random_floats(rng, cover(in).most_tokens() * in);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? 0.0F : x[i] * 0.01F * magnitude;
    check_float(
        in, x, [&](std::int64_t r, std::int64_t c) { return w.values[size(r * in + c)]; },
        [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
          k().gemm_f32(w.stored.data(), in, x.data(), tokens, y, ldy, begin, end);
        });
    const RandomSigns s(rng, kMaxRows, in);
    const SignMatrix signs(k(), s.view, {}, 0);
    check_float(
        in, x, [&](std::int64_t r, std::int64_t c) { return s.at(r, c); },
        [&](std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t begin, std::int64_t end) {
          k().gemm_sign1_f32(signs.signs(), nullptr, x.data(), tokens, y, ldy, begin, end);
        });
    if (HasFatalFailure()) return;
  }
}

TEST_P(Gemm, NanInOneTokenStaysInThatToken) {
  Rng rng(6);
  const std::int64_t in = 65;
  const RandomSigns s(rng, 5, in);
  const SignMatrix signs(k(), s.view, {}, 0);
  DenseMatrix<float> w;
  make_dense(rng, 5 * in, w);
  std::vector<float> x = random_floats(rng, 3 * in);
  x[size(in + 64)] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> y(15);
  k().gemm_sign1_f32(signs.signs(), nullptr, x.data(), 3, y.data(), 5, 0, 5);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(std::isnan(y[i]), i / 5 == 1);
  k().gemm_f32(w.stored.data(), in, x.data(), 3, y.data(), 5, 0, 5);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(std::isnan(y[i]), i / 5 == 1);
}

}  // namespace
}  // namespace onebit::kernels
