// Differential fuzzing: random shapes, ranges of rows and bytes, every instruction set against the
// scalar kernels: integers bit for bit, floats within twice the bound of kernels.h.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <span>

#include "base/buffer.h"
#include "kernels/block_matrix.h"
#include "kernels/kernels.h"
#include "kernels/kv_blocks.h"
#include "kernels/sign_matrix.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

/// The input, read from its front; zeros when it is spent.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t n) : data_(data), left_(n) {}

  void fill(void* to, std::size_t n) {
    std::memset(to, 0, n);
    const std::size_t take = n < left_ ? n : left_;
    if (take > 0) std::memcpy(to, data_, take);
    data_ += take;
    left_ -= take;
  }
  std::int64_t below(std::int64_t bound) {
    std::uint16_t v;
    fill(&v, sizeof(v));
    return v % bound;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

void require(bool condition) {
  if (!condition) std::abort();
}

/// Equal, an infinity's sign too.
bool is_same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

struct Case {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t tokens;
  std::int64_t begin;
  std::int64_t end;

  std::int64_t words() const { return formats::sign1_row_words(cols); }
};

void clear_padding(std::vector<std::uint64_t>& words, const Case& c) {
  if (c.cols % 64 == 0) return;
  for (std::int64_t r = 0; r < c.rows; ++r) {
    words[size((r + 1) * c.words() - 1)] &= (1ULL << (c.cols % 64)) - 1;
  }
}

/// Values that the bytes choose, finite and within ±2^60 so that no sum overflows.
std::vector<float> floats(Bytes& bytes, std::int64_t n) {
  std::vector<float> v(size(n));
  bytes.fill(v.data(), v.size() * sizeof(float));
  for (float& x : v) {
    if (!(std::abs(x) <= 0x1p60F)) x = 1.0F;
  }
  return v;
}

/// S with or without scales of groups: every set's results are equal.
void fuzz_sign1_i8(Bytes& bytes, const Case& c) {
  std::vector<std::uint64_t> words(size(c.rows * c.words()));
  bytes.fill(words.data(), words.size() * 8);
  clear_padding(words, c);
  const formats::Sign1View s{words.data(), c.rows, c.cols};
  const std::int64_t stride = QuantizedRows::stride(c.cols);
  std::vector<std::int8_t> q(size(c.tokens * stride));
  for (std::int64_t t = 0; t < c.tokens; ++t) bytes.fill(q.data() + t * stride, size(c.cols));
  for (std::int8_t& v : q) v = v == -128 ? std::int8_t{127} : v;
  const std::vector<float> scales = floats(bytes, c.tokens * QuantizedRows::blocks(c.cols));
  const QuantizedRows x{q.data(), scales.data()};
  const std::int64_t kind = bytes.below(6);
  const std::int64_t group_size = kind < 4 ? std::int64_t{16} << kind : 0;
  const std::int64_t groups = group_size == 0 ? 1 : (c.cols + group_size - 1) / group_size;
  const std::vector<float> h = floats(bytes, c.rows * groups);
  std::vector<float> want;
  for (const KernelSet* k : available_kernels()) {
    std::vector<float> y(size(c.tokens * c.rows), 5);
    if (group_size > 0) {
      const SignMatrix w(*k, s, h, group_size);
      k->gemm_sign1_grouped_i8(w.grouped(), x, c.tokens, y.data(), c.rows, c.begin, c.end);
    } else {
      const SignMatrix w(*k, s, {}, 0);
      k->gemm_sign1_i8(w.signs(), kind == 4 ? nullptr : h.data(), x, c.tokens, y.data(), c.rows,
                       c.begin, c.end);
    }
    // The first is the best set, the last is scalar.
    if (want.empty()) want = y;
    require(std::ranges::equal(y, want, is_same));
  }
}

/// Codes of every width, in groups of any size: weights are equal, and so are products with one
/// token, whichever way they are computed. Products of three values may overflow.
void fuzz_codes(Bytes& bytes, const Case& c) {
  const int bits = 1 + static_cast<int>(bytes.below(formats::kMaxCodeBits));
  std::vector<std::byte> codes(size(c.rows * formats::codes_row_bytes(c.cols, bits)));
  bytes.fill(codes.data(), codes.size());
  std::vector<std::int32_t> ends;
  while (ends.empty() || ends.back() < c.cols) {
    const std::int64_t begin = ends.empty() ? 0 : ends.back();
    ends.push_back(static_cast<std::int32_t>(std::min(c.cols, begin + 1 + bytes.below(200))));
  }
  const std::int64_t groups = std::ssize(ends);
  const std::vector<float> scale = floats(bytes, c.rows * groups);
  const std::vector<float> zero = floats(bytes, c.rows * groups);
  std::vector<float> levels;
  if (bytes.below(2) == 0) levels = floats(bytes, c.rows * groups << bits);
  const std::vector<float> signs = floats(bytes, groups * 8);
  const std::vector<float> row_scale = floats(bytes, c.rows * groups * 2);
  const std::vector<float> col_scale = floats(bytes, c.cols * 2);
  const CodedProducts products = {signs.data(), row_scale.data(), col_scale.data()};
  const CodedRows w = {{codes.data(), c.rows, c.cols, bits},
                       ends.data(),
                       groups,
                       scale.data(),
                       zero.data(),
                       levels.empty() ? nullptr : levels.data(),
                       bits == 2 && bytes.below(2) == 0 ? &products : nullptr};
  const std::vector<float> x = floats(bytes, c.cols);
  const std::int64_t weights = (c.end - c.begin) * c.cols;
  std::vector<float> want;
  for (const KernelSet* k : available_kernels()) {
    std::vector<float> out(size(weights + kDecodeRoom));
    k->decode_codes(w, out.data(), c.begin, c.end);
    if (want.empty()) want = out;
    require(std::equal(out.begin(), out.begin() + weights, want.begin(), is_same));
    if (k->gemv_codes == nullptr) continue;
    const std::int64_t rows = c.end - c.begin;
    std::vector<float> y(size(c.end));
    std::vector<float> y_of_weights(size(rows));
    k->gemv_codes(w, x.data(), y.data(), c.begin, c.end);
    k->gemm_f32(out.data(), c.cols, x.data(), 1, y_of_weights.data(), rows, 0, rows);
    require(std::ranges::equal(std::span(y).subspan(size(c.begin)), y_of_weights, is_same));
  }
}

template <class Block>
void fuzz_blocks_i8(Bytes& bytes, const Case& c, formats::DType type) {
  Rng rng(static_cast<std::uint64_t>(bytes.below(65536)));
  DenseMatrix<Block> w;
  make_dense(rng, c.rows * c.cols, w);
  const RandomInt8 x(rng, c.tokens, c.cols);
  std::vector<float> want;
  for (const KernelSet* k : available_kernels()) {
    const BlockMatrix packed(*k, type, reinterpret_cast<const std::byte*>(w.stored.data()), c.rows,
                             c.cols);
    std::vector<float> y(size(c.tokens * c.rows), 5);
    packed.gemm()(packed.blocks(), x.rows(), c.tokens, y.data(), c.rows, c.begin, c.end);
    if (want.empty()) want = y;
    require(y == want);
  }
}

/// gemm(k, y) of every set against the scalar one; magnitude(t, r) = Σ|w x|.
template <class Call, class Magnitude>
void compare_floats(const Case& c, const Call& gemm, const Magnitude& magnitude) {
  const std::vector<const KernelSet*> sets = available_kernels();
  std::vector<float> want(size(c.tokens * c.rows), 5.0F);
  gemm(*sets.back(), want.data());
  for (const KernelSet* k : sets) {
    std::vector<float> y(want.size(), 5.0F);
    gemm(*k, y.data());
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      for (std::int64_t r = 0; r < c.rows; ++r) {
        const std::size_t i = size(t * c.rows + r);
        if (r < c.begin || r >= c.end) {
          require(y[i] == 5.0F);
        } else {
          const double bound =
              2 * static_cast<double>(c.cols) * (0x1p-23 * magnitude(t, r) + 0x1p-149);
          require(std::abs(static_cast<double>(y[i]) - want[i]) <= bound);
        }
      }
    }
  }
}

void fuzz_sign1_f32(Bytes& bytes, const Case& c) {
  std::vector<std::uint64_t> words(size(c.rows * c.words()));
  bytes.fill(words.data(), words.size() * 8);
  clear_padding(words, c);
  const formats::Sign1View s{words.data(), c.rows, c.cols};
  const std::vector<float> x = floats(bytes, c.tokens * c.cols);
  compare_floats(
      c,
      [&](const KernelSet& k, float* y) {
        const SignMatrix w(k, s, {}, 0);
        k.gemm_sign1_f32(w.signs(), nullptr, x.data(), c.tokens, y, c.rows, c.begin, c.end);
      },
      [&](std::int64_t t, std::int64_t) {
        double sum = 0;
        for (std::int64_t i = 0; i < c.cols; ++i) {
          sum += std::abs(static_cast<double>(x[size(t * c.cols + i)]));
        }
        return sum;
      });
}

void fuzz_sign1_grouped(Bytes& bytes, const Case& c) {
  std::vector<std::uint64_t> words(size(c.rows * c.words()));
  bytes.fill(words.data(), words.size() * 8);
  clear_padding(words, c);
  const std::int64_t group_size = std::int64_t{16} << bytes.below(4);
  const std::int64_t groups = (c.cols + group_size - 1) / group_size;
  std::vector<float> h = floats(bytes, c.rows * groups);
  for (float& v : h) {
    if (std::abs(v) > 0x1p30F) v = 1.0F;  // no sum overflows
  }
  const std::vector<float> x = floats(bytes, c.tokens * c.cols);
  const formats::Sign1View s{words.data(), c.rows, c.cols};
  compare_floats(
      c,
      [&](const KernelSet& k, float* y) {
        const SignMatrix w(k, s, h, group_size);
        k.gemm_sign1_grouped_f32(w.grouped(), x.data(), c.tokens, y, c.rows, c.begin, c.end);
      },
      [&](std::int64_t t, std::int64_t r) {
        double sum = 0;
        for (std::int64_t i = 0; i < c.cols; ++i) {
          sum += std::abs(static_cast<double>(h[size(r * groups + i / group_size)]) *
                          static_cast<double>(x[size(t * c.cols + i)]));
        }
        return sum;
      });
}

template <class W>
void fuzz_dense(Bytes& bytes, const Case& c, DenseGemm<W> KernelSet::*gemm, const std::vector<W>& w,
                const std::vector<float>& values) {
  const std::vector<float> x = floats(bytes, c.tokens * c.cols);
  compare_floats(
      c,
      [&](const KernelSet& k, float* y) {
        (k.*gemm)(w.data(), c.cols, x.data(), c.tokens, y, c.rows, c.begin, c.end);
      },
      [&](std::int64_t t, std::int64_t r) {
        double sum = 0;
        for (std::int64_t i = 0; i < c.cols; ++i) {
          sum +=
              std::abs(static_cast<double>(values[size(r * c.cols + i)]) * x[size(t * c.cols + i)]);
        }
        return sum;
      });
}

template <class W>
void fuzz_random_dense(Bytes& bytes, const Case& c, DenseGemm<W> KernelSet::*gemm) {
  Rng rng(static_cast<std::uint64_t>(bytes.below(65536)));
  DenseMatrix<W> w;
  make_dense(rng, c.rows * c.cols, w);
  fuzz_dense(bytes, c, gemm, w.stored, w.values);
}

void fuzz_f32(Bytes& bytes, const Case& c) {
  const std::vector<float> w = floats(bytes, c.rows * c.cols);
  fuzz_dense(bytes, c, &KernelSet::gemm_f32, w, w);
}

void fuzz_16_bits(Bytes& bytes, const Case& c, DenseType type) {
  std::vector<std::uint16_t> w(size(c.rows * c.cols));
  bytes.fill(w.data(), w.size() * 2);
  std::vector<float> values;
  for (std::uint16_t& bits : w) {
    const bool f16 = type == DenseType::kF16;
    float value = f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    if (!(std::abs(value) <= 0x1p60F)) {
      bits = 0;
      value = 0;
    }
    values.push_back(value);
  }
  fuzz_dense(bytes, c, type == DenseType::kF16 ? &KernelSet::gemm_f16 : &KernelSet::gemm_bf16, w,
             values);
}

void fuzz_quantize(Bytes& bytes, std::int64_t n) {
  std::vector<float> x(size(n));
  std::vector<float> g(size(n));
  const bool has_g = bytes.below(2) != 0;
  bytes.fill(x.data(), x.size() * sizeof(float));  // NaN and infinity included
  bytes.fill(g.data(), g.size() * sizeof(float));
  std::vector<std::int8_t> want;
  std::vector<float> want_scales;
  for (const KernelSet* k : available_kernels()) {
    std::vector<std::int8_t> q(size(QuantizedRows::stride(n) + 1), 77);
    std::vector<float> scales(size(QuantizedRows::blocks(n) + 1), 5.0F);
    k->quantize_i8(x.data(), has_g ? g.data() : nullptr, n, q.data(), scales.data());
    require(q.back() == 77 && scales.back() == 5.0F);
    if (want.empty()) {
      want = q;
      want_scales = scales;
    }
    require(q == want);
    require(std::ranges::equal(scales, want_scales, is_same));
  }
}

/// Keys and values of any size, the later ones hidden from the first queries.
void fuzz_attention(Bytes& bytes) {
  const std::int64_t dim = 1 + bytes.below(80);
  const KvType type = Words<KvType>::kAll[bytes.below(3)].value;
  const KvLayout layout{type, dim};
  const Queries shape{nullptr, 1 + bytes.below(kMaxQueries), 1 + bytes.below(12), bytes.below(150)};
  const std::int64_t positions = shape.position + (shape.count - 1) / shape.group + 1;
  const std::int64_t blocks = (positions + kKvBlock - 1) / kKvBlock;
  Rng rng(static_cast<std::uint64_t>(bytes.below(65536)));
  const auto scaled_floats = [&] {
    // f16 and the scales of q8_0 hold what is below 2^16; random_floats() are within 3.
    const float factor = std::ldexp(1.0F, static_cast<int>(bytes.below(70)) - 56);
    std::vector<float> v = random_floats(rng, positions * dim);
    for (float& x : v) x *= factor;
    return v;
  };
  std::vector<float> keys = scaled_floats();
  std::vector<float> values = scaled_floats();
  Buffer<std::byte> key_blocks;
  Buffer<std::byte> value_blocks;
  key_blocks.reserve(blocks * layout.key_bytes());
  value_blocks.reserve(blocks * layout.value_bytes());
  // What no position has written is not to be used: NaN.
  std::memset(key_blocks.data(), 0xFF, size(key_blocks.size()));
  std::memset(value_blocks.data(), 0xFF, size(value_blocks.size()));
  for (std::int64_t p = 0; p < positions; ++p) {
    float* key = keys.data() + p * dim;
    float* value = values.data() + p * dim;
    std::byte* key_block = key_blocks.data() + p / kKvBlock * layout.key_bytes();
    std::byte* value_block = value_blocks.data() + p / kKvBlock * layout.value_bytes();
    layout.store(best_kernels(), p % kKvBlock, key, value, key_block, value_block);
    layout.load(p % kKvBlock, key_block, value_block, key, value);
  }
  const std::vector<float> q = floats(bytes, shape.count * dim);
  const Queries queries{q.data(), shape.count, shape.group, shape.position};
  const std::int64_t stride = shape.group * dim + 3;
  Buffer<float> scratch;
  scratch.reserve(attend_scratch(dim));
  const auto attend = [&](const KernelSet& k) {
    std::vector<float> out(size(((shape.count - 1) / shape.group + 1) * stride), 5.0F);
    const Attend function = type == KvType::kF32   ? k.attend_f32
                            : type == KvType::kF16 ? k.attend_f16
                                                   : k.attend_q8_0;
    function({key_blocks.data(), value_blocks.data(), dim}, queries, scratch.data(), out.data(),
             stride);
    return out;
  };
  std::vector<double> bounds;
  for (std::int64_t i = 0; i < shape.count; ++i) {
    double magnitudes = 0;
    double largest = 0;
    const std::int64_t seen = shape.position + i / shape.group + 1;
    for (std::int64_t p = 0; p < seen; ++p) {
      double sum = 0;
      for (std::int64_t c = 0; c < dim; ++c) {
        sum += std::abs(static_cast<double>(q[size(i * dim + c)]) * keys[size(p * dim + c)]);
        largest = std::max(largest, std::abs(static_cast<double>(values[size(p * dim + c)])));
      }
      magnitudes = std::max(magnitudes, sum);
    }
    // kernels.h, once for each set, and what subnormal products lose.
    const double s = static_cast<double>(dim) * 0x1p-23 * magnitudes;
    const auto terms = static_cast<double>(seen);
    bounds.push_back(2 * ((2 * s + 0x1p-22 * terms) * largest + terms * 0x1p-149));
  }
  const std::vector<const KernelSet*> sets = available_kernels();
  const std::vector<float> want = attend(*sets.back());
  for (const KernelSet* k : sets) {
    std::vector<float> out = attend(*k);
    for (std::int64_t i = 0; i < shape.count; ++i) {
      for (std::int64_t c = 0; c < dim; ++c) {
        const std::size_t at = size(i / shape.group * stride + i % shape.group * dim + c);
        require(std::abs(static_cast<double>(out[at]) - want[at]) <= bounds[size(i)]);
        out[at] = 5.0F;
      }
    }
    for (const float v : out) require(v == 5.0F);  // nothing else was written
  }
}

void fuzz_to_f16(Bytes& bytes, std::int64_t n) {
  std::vector<float> x(size(n));
  bytes.fill(x.data(), x.size() * sizeof(float));
  const auto is_nan = [](f16_bits h) { return (h & 0x7FFFU) > 0x7C00U; };
  for (const KernelSet* k : available_kernels()) {
    std::vector<f16_bits> y(size(n + 1), 0x1234);
    k->to_f16(x.data(), y.data(), n);
    require(y.back() == 0x1234);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const f16_bits want = f32_to_f16(x[i]);
      require(y[i] == want || (is_nan(y[i]) && is_nan(want)));
    }
  }
}

}  // namespace
}  // namespace onebit::kernels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t n) {
  using namespace onebit::kernels;  // NOLINT(google-build-using-namespace): a C entry point
  namespace formats = onebit::formats;
  Bytes bytes(data, n);
  const std::int64_t op = bytes.below(14);
  Case c{};
  c.rows = 1 + bytes.below(40);
  c.cols = 1 + bytes.below(op == 0 ? 9000 : 1700);
  c.tokens = 1 + bytes.below(20);
  if (op >= 5 && op <= 6) c.cols = (c.cols + 31) / 32 * 32;
  c.begin = bytes.below(c.rows + 1);
  c.end = c.begin + bytes.below(c.rows - c.begin + 1);
  switch (op) {
    case 0:
      fuzz_sign1_i8(bytes, c);
      break;
    case 1:
      fuzz_sign1_f32(bytes, c);
      break;
    case 2:
      fuzz_f32(bytes, c);
      break;
    case 3:
      fuzz_16_bits(bytes, c, DenseType::kF16);
      break;
    case 4:
      fuzz_16_bits(bytes, c, DenseType::kBF16);
      break;
    case 5:
      fuzz_random_dense(bytes, c, &KernelSet::gemm_q8_0);
      break;
    case 6:
      fuzz_random_dense(bytes, c, &KernelSet::gemm_q4_1);
      break;
    case 7:
      fuzz_sign1_grouped(bytes, c);
      break;
    case 8:
      c.cols = (c.cols + 31) / 32 * 32;
      fuzz_blocks_i8<formats::BlockQ8_0>(bytes, c, formats::DType::kQ8_0);
      break;
    case 9:
      c.cols = (c.cols + 31) / 32 * 32;
      fuzz_blocks_i8<formats::BlockQ4_0>(bytes, c, formats::DType::kQ4_0);
      break;
    case 10:
      fuzz_attention(bytes);
      break;
    case 11:
      fuzz_to_f16(bytes, c.cols);
      break;
    case 12:
      fuzz_codes(bytes, c);
      break;
    default:
      fuzz_quantize(bytes, c.cols);
  }
  return 0;
}
