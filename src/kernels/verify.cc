#include "kernels/verify.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/rng.h"
#include "kernels/block_matrix.h"
#include "kernels/sign_matrix.h"

namespace onebit::kernels {
namespace {

/// One panel and a part of the next on every set; a last group, block and vector that are parts.
constexpr std::int64_t kRows = 67;
constexpr std::int64_t kCols = 203;
/// A whole number of the quantised types' blocks.
constexpr std::int64_t kBlockCols = 224;
constexpr std::int64_t kTokens = 3;
constexpr std::int64_t kGroup = 32;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

class Verifier {
 public:
  explicit Verifier(const KernelSet& kernels)
      : sets_{&kernels, &kernels_by_name("scalar")},
        x_(floats(kTokens * kBlockCols)),
        h_(floats(kRows * ((kCols + kGroup - 1) / kGroup))),
        words_(size(kRows * formats::sign1_row_words(kCols))) {
    const std::int64_t row_words = formats::sign1_row_words(kCols);
    for (std::uint64_t& word : words_) word = rng_.next();
    for (std::int64_t r = 1; r <= kRows; ++r) {
      words_[size(r * row_words - 1)] &= (std::uint64_t{1} << (kCols % 64)) - 1;
    }
  }

  void run() {
    test_signs();
    test_dense();
    test_codes();
    test_attention();
    test_rows();
  }

 private:
  std::vector<float> floats(std::int64_t n) {
    std::vector<float> values(size(n));
    for (float& v : values) v = static_cast<float>(rng_.uniform() * 2 - 1);
    return values;
  }

  /// call(set, result) by both sets; results of n values may differ by `bound`.
  template <class Call>
  void compare(std::string_view function, std::int64_t n, double bound, const Call& call) const {
    std::vector<float> results[2];
    for (int i = 0; i < 2; ++i) {
      results[i].resize(size(n));
      call(*sets_[i], results[i].data());
    }
    for (std::size_t i = 0; i < size(n); ++i) {
      const float found = results[0][i];
      const float expected = results[1][i];
      if (!(std::abs(static_cast<double>(found) - expected) <= bound)) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("instruction set '{}': {}: found {}, expected {}, on this CPU; "
                                "ONEBIT_ISA=scalar runs without it",
                                sets_[0]->name, function, found, expected));
      }
    }
  }

  void test_signs() const {
    const formats::Sign1View s{words_.data(), kRows, kCols};
    // |x| < 1, |h| < 1: twice the bound of kernels.h, once for each set.
    constexpr double kBound = 2.0 * kCols * 0x1p-23 * kCols;
    std::vector<std::int8_t> q(size(kTokens * QuantizedRows::stride(kCols)));
    std::vector<float> scales(size(kTokens * QuantizedRows::blocks(kCols)));
    for (std::int64_t t = 0; t < kTokens; ++t) {
      sets_[1]->quantize_i8(x_.data() + t * kCols, h_.data(), kCols,
                            q.data() + t * QuantizedRows::stride(kCols),
                            scales.data() + t * QuantizedRows::blocks(kCols));
    }
    const QuantizedRows rounded{q.data(), scales.data()};
    constexpr std::int64_t kAll = kTokens * kRows;
    compare("gemm_sign1_i8", kAll, 0, [&](const KernelSet& k, float* y) {
      const SignMatrix w(k, s, {}, 0);
      k.gemm_sign1_i8(w.signs(), h_.data(), rounded, kTokens, y, kRows, 0, kRows);
    });
    compare("gemm_sign1_f32", kAll, kBound, [&](const KernelSet& k, float* y) {
      const SignMatrix w(k, s, {}, 0);
      k.gemm_sign1_f32(w.signs(), h_.data(), x_.data(), kTokens, y, kRows, 0, kRows);
    });
    compare("gemm_sign1_grouped_i8", kAll, 0, [&](const KernelSet& k, float* y) {
      const SignMatrix w(k, s, h_, kGroup);
      k.gemm_sign1_grouped_i8(w.grouped(), rounded, kTokens, y, kRows, 0, kRows);
    });
    compare("gemm_sign1_grouped_f32", kAll, kBound, [&](const KernelSet& k, float* y) {
      const SignMatrix w(k, s, h_, kGroup);
      k.gemm_sign1_grouped_f32(w.grouped(), x_.data(), kTokens, y, kRows, 0, kRows);
    });
    compare("quantize_i8", kCols, 0, [&](const KernelSet& k, float* y) {
      std::vector<std::int8_t> row(size(QuantizedRows::stride(kCols)));
      std::vector<float> row_scales(size(QuantizedRows::blocks(kCols)));
      k.quantize_i8(x_.data(), h_.data(), kCols, row.data(), row_scales.data());
      for (std::int64_t c = 0; c < kCols; ++c) {
        y[c] = row_scales[size(c / kActivationBlock)] * static_cast<float>(row[size(c)]);
      }
    });
  }

  template <class Weight>
  void test_gemm(std::string_view function, DenseGemm<Weight> KernelSet::*gemm,
                 const std::vector<Weight>& w, std::int64_t cols, double largest) const {
    const double terms = static_cast<double>(cols);
    compare(function, kTokens * kRows, 2 * terms * 0x1p-23 * terms * largest,
            [&](const KernelSet& k, float* y) {
              (k.*gemm)(w.data(), cols, x_.data(), kTokens, y, kRows, 0, kRows);
            });
  }

  void test_dense() {
    const std::vector<float> w = floats(kRows * kCols);
    std::vector<f16_bits> f16;
    std::vector<bf16_bits> bf16;
    for (const float v : w) {
      f16.push_back(f32_to_f16(v));
      bf16.push_back(f32_to_bf16(v));
    }
    test_gemm("gemm_f32", &KernelSet::gemm_f32, w, kCols, 1);
    test_gemm("gemm_f16", &KernelSet::gemm_f16, f16, kCols, 1);
    test_gemm("gemm_bf16", &KernelSet::gemm_bf16, bf16, kCols, 1);
    // Scales of 2^-7 make weights of at most 1.
    const f16_bits scale = f32_to_f16(0x1p-7F);
    std::vector<formats::BlockQ8_0> q8_0(size(kRows * kBlockCols / formats::kQuantBlock));
    for (formats::BlockQ8_0& block : q8_0) {
      block.d = scale;
      for (std::int8_t& q : block.qs) q = static_cast<std::int8_t>(rng_.below(256));
    }
    std::vector<formats::BlockQ4_1> q4_1(q8_0.size());
    for (formats::BlockQ4_1& block : q4_1) {
      block.d = block.m = scale;
      for (std::uint8_t& q : block.qs) q = static_cast<std::uint8_t>(rng_.below(256));
    }
    test_gemm("gemm_q8_0", &KernelSet::gemm_q8_0, q8_0, kBlockCols, 1);
    std::vector<std::int8_t> q(size(kTokens * QuantizedRows::stride(kBlockCols)));
    for (std::int8_t& v : q) v = static_cast<std::int8_t>(static_cast<int>(rng_.below(255)) - 127);
    const std::vector<float> scales = floats(kTokens * QuantizedRows::blocks(kBlockCols));
    const auto test_blocks = [&](std::string_view function, formats::DType type,
                                 const void* blocks) {
      compare(function, kTokens * kRows, 0, [&](const KernelSet& k, float* y) {
        const BlockMatrix packed(k, type, static_cast<const std::byte*>(blocks), kRows, kBlockCols);
        packed.gemm()(packed.blocks(), {q.data(), scales.data()}, kTokens, y, kRows, 0, kRows);
      });
    };
    test_blocks("gemm_q8_0_i8", formats::DType::kQ8_0, q8_0.data());
    std::vector<formats::BlockQ4_0> q4_0(q8_0.size());
    for (formats::BlockQ4_0& block : q4_0) {
      block.d = scale;
      for (std::uint8_t& v : block.qs) v = static_cast<std::uint8_t>(rng_.below(256));
    }
    test_blocks("gemm_q4_0_i8", formats::DType::kQ4_0, q4_0.data());
    test_gemm("gemm_q4_1", &KernelSet::gemm_q4_1, q4_1, kBlockCols, 1);
  }

  void test_codes() {
    constexpr std::int32_t kEnds[] = {64, 100, kCols};
    constexpr std::int64_t kGroups = std::size(kEnds);
    const std::vector<float> scale = floats(kRows * kGroups);
    const std::vector<float> zero = floats(kRows * kGroups);
    const std::vector<float> signs = floats(kGroups * 8);
    const std::vector<float> row_scale = floats(kRows * kGroups * 2);
    const std::vector<float> col_scale = floats(kCols * 2);
    const CodedProducts products = {signs.data(), row_scale.data(), col_scale.data()};
    for (const int bits : {2, 3, 5}) {
      const std::vector<float> levels = floats(kRows * kGroups << bits);
      std::vector<std::byte> bytes(size(kRows * formats::codes_row_bytes(kCols, bits)));
      for (std::byte& b : bytes) b = static_cast<std::byte>(rng_.below(256));
      const formats::CodesView codes = {bytes.data(), kRows, kCols, bits};
      CodedRows w{codes, kEnds, kGroups, scale.data(), zero.data(), nullptr};
      const auto test = [&] {
        compare("decode_codes", kRows * kCols, 0, [&](const KernelSet& k, float* y) {
          std::vector<float> decoded(size(kRows * kCols + kDecodeRoom));
          k.decode_codes(w, decoded.data(), 0, kRows);
          std::copy_n(decoded.data(), kRows * kCols, y);
        });
        // Weights of at most 2^bits + 1, inputs below 1.
        const double bound = 2.0 * kCols * 0x1p-23 * kCols * ((1 << bits) + 1);
        compare("gemv_codes", kRows, bound, [&](const KernelSet& k, float* y) {
          if (k.gemv_codes != nullptr) {
            k.gemv_codes(w, x_.data(), y, 0, kRows);
            return;
          }
          std::vector<float> decoded(size(kRows * kCols + kDecodeRoom));
          k.decode_codes(w, decoded.data(), 0, kRows);
          k.gemm_f32(decoded.data(), kCols, x_.data(), 1, y, kRows, 0, kRows);
        });
      };
      test();
      w.levels = levels.data();
      test();
      if (bits != 2) continue;
      w.products = &products;
      test();
    }
  }

  void test_attention() const {
    // A block and a part of the next; a head of one vector and a part.
    constexpr std::int64_t kDim = 24;
    constexpr std::int64_t kPositions = kKvBlock + 5;
    constexpr std::int64_t kQueries = 14;
    constexpr std::int64_t kGroupHeads = 2;
    const auto test = [&](std::string_view function, KvType type, Attend KernelSet::*attend) {
      const KvLayout layout{type, kDim};
      std::vector<std::byte> keys(size(2 * layout.key_bytes()));
      std::vector<std::byte> values(size(2 * layout.value_bytes()));
      for (std::int64_t p = 0; p < kPositions; ++p) {
        layout.store(*sets_[1], p % kKvBlock, x_.data() + p, x_.data() + 2 * p + 1,
                     keys.data() + p / kKvBlock * layout.key_bytes(),
                     values.data() + p / kKvBlock * layout.value_bytes());
      }
      // Of keys, values and queries below 1: the bound of kernels.h, once for each set.
      constexpr double kBound = 2 * (2.0 * kDim * 0x1p-23 * kDim + 0x1p-22 * kPositions);
      compare(function, kQueries * kDim, kBound, [&](const KernelSet& k, float* y) {
        Buffer<float> scratch;
        (k.*attend)({keys.data(), values.data(), kDim},
                    {h_.data(), kQueries, kGroupHeads, kPositions - kQueries / kGroupHeads},
                    scratch.reserve(attend_scratch(kDim)), y, kGroupHeads * kDim);
      });
    };
    test("attend_f32", KvType::kF32, &KernelSet::attend_f32);
    test("attend_f16", KvType::kF16, &KernelSet::attend_f16);
    test("attend_q8_0", KvType::kQ8_0, &KernelSet::attend_q8_0);
    compare("to_f16", kCols, 0, [&](const KernelSet& k, float* y) {
      std::vector<f16_bits> bits(size(kCols));
      k.to_f16(x_.data(), bits.data(), kCols);
      std::copy(bits.begin(), bits.end(), y);
    });
  }

  void test_rows() const {
    const float* a = x_.data();
    const float* b = x_.data() + kCols;
    // Values of at most 16, each within some units of 2^-23 of its own size and of the sums'.
    constexpr double kBound = 16.0 * kCols * 0x1p-23;
    compare("multiply", kCols, 0,
            [&](const KernelSet& k, float* y) { k.multiply(a, b, y, kCols); });
    compare("add", kCols, 0, [&](const KernelSet& k, float* y) {
      std::copy_n(b, kCols, y);
      k.add(a, y, kCols);
    });
    compare("rms_norm", kCols, kBound,
            [&](const KernelSet& k, float* y) { k.rms_norm(a, b, 1e-5F, y, kCols); });
    compare("layer_norm", kCols, kBound,
            [&](const KernelSet& k, float* y) { k.layer_norm(a, 1e-5F, y, kCols); });
    compare("swiglu", kCols, kBound,
            [&](const KernelSet& k, float* y) { k.swiglu(a, b, y, kCols); });
    compare("keep_finite", kCols + 1, 0, [&](const KernelSet& k, float* y) {
      std::copy_n(a, kCols, y);
      y[kCols / 2] = std::numeric_limits<float>::infinity();
      y[kCols] = k.keep_finite(y, y, kCols);
      std::replace(y, y + kCols, -std::numeric_limits<float>::infinity(), 99.0F);
    });
    compare("softmax", kCols, kBound, [&](const KernelSet& k, float* y) {
      std::copy_n(a, kCols, y);
      k.softmax(y, kCols);
    });
  }

  const KernelSet* sets_[2];
  Rng rng_{1};
  std::vector<float> x_;  ///< [kTokens, kBlockCols], or as many of [kTokens, kCols] and rows
  std::vector<float> h_;  ///< [kRows, groups], more than kRows and kCols
  std::vector<std::uint64_t> words_;
};

}  // namespace

void verify(const KernelSet& kernels) {
  if (&kernels != &kernels_by_name("scalar")) Verifier(kernels).run();
}

}  // namespace onebit::kernels
