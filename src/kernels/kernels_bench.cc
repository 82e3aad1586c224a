// Speed of the matrix kernels of every instruction set that this CPU runs, on one thread. Each
// bench checks its result against the scalar kernels first. Columns: bytes of weights per second
// (what bounds one token), and operations per second, a multiply-add being two (what bounds many).
#include <benchmark/benchmark.h>
#include <cmath>
#include <string>

#include "kernels/block_matrix.h"
#include "kernels/kernels.h"
#include "kernels/kv_blocks.h"
#include "kernels/sign_matrix.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

struct Shape {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t tokens;
};

/// The matrices of SmolLM2-135M and one of a 7B model.
constexpr Shape kShapes[] = {{576, 576, 1},    {1536, 576, 1},   {576, 1536, 1},  {4096, 4096, 1},
                             {1536, 576, 8},   {1536, 576, 64},  {576, 1536, 64}, {1536, 576, 512},
                             {576, 1536, 512}, {4096, 4096, 512}};

void set_counters(benchmark::State& state, const Shape& shape, double weight_bytes) {
  const double ops = 2.0 * static_cast<double>(shape.rows * shape.cols * shape.tokens);
  using benchmark::Counter;
  state.counters["weights/s"] =
      Counter(weight_bytes, Counter::kIsIterationInvariantRate, Counter::OneK::kIs1000);
  state.counters["op/s"] = Counter(ops, Counter::kIsIterationInvariantRate, Counter::OneK::kIs1000);
}

/// The first rows and tokens of y against the scalar kernel, which is too slow for all.
constexpr std::int64_t kCheckedRows = 9;
constexpr std::int64_t kCheckedTokens = 7;

template <class T, class Reference>
bool agrees(const Shape& shape, const std::vector<T>& y, double tolerance,
            const Reference& reference) {
  const std::int64_t tokens = std::min(kCheckedTokens, shape.tokens);
  std::vector<T> want(size(tokens * shape.rows));
  reference(tokens, want.data(), std::min(kCheckedRows, shape.rows));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < std::min(kCheckedRows, shape.rows); ++r) {
      const std::size_t i = size(t * shape.rows + r);
      if (!(std::abs(static_cast<double>(y[i] - want[i])) <= tolerance)) return false;
    }
  }
  return true;
}

void bench_sign1_i8(benchmark::State& state, const KernelSet* k, Shape shape) {
  Rng rng(1);
  const RandomSigns s(rng, shape.rows, shape.cols);
  const SignMatrix w(*k, s.view, {}, 0);
  const RandomInt8 x(rng, shape.tokens, shape.cols);
  const std::vector<float> h = random_floats(rng, shape.rows);
  std::vector<float> y(size(shape.rows * shape.tokens));
  for (auto _ : state) {
    k->gemm_sign1_i8(w.signs(), h.data(), x.rows(), shape.tokens, y.data(), shape.rows, 0,
                     shape.rows);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const KernelSet& scalar = kernels_by_name("scalar");
  const SignMatrix stored(scalar, s.view, {}, 0);
  if (!agrees(shape, y, 0, [&](std::int64_t tokens, float* want, std::int64_t rows) {
        scalar.gemm_sign1_i8(stored.signs(), h.data(), x.rows(), tokens, want, shape.rows, 0, rows);
      })) {
    state.SkipWithError("differs from the scalar kernel");
  }
  set_counters(state, shape, static_cast<double>(s.words.size() * 8));
}

/// A bound for both kernels' rounding: 2 · in · 2^-23 · Σ|w x|, with |x| < 3.
double tolerance(std::int64_t in, double largest_weight) {
  const double n = static_cast<double>(in);
  return 2 * n * 0x1p-23 * n * 3 * largest_weight;
}

void bench_sign1_f32(benchmark::State& state, const KernelSet* k, Shape shape) {
  Rng rng(1);
  const RandomSigns s(rng, shape.rows, shape.cols);
  const SignMatrix w(*k, s.view, {}, 0);
  const std::vector<float> x = random_floats(rng, shape.tokens * shape.cols);
  std::vector<float> y(size(shape.rows * shape.tokens));
  for (auto _ : state) {
    k->gemm_sign1_f32(w.signs(), nullptr, x.data(), shape.tokens, y.data(), shape.rows, 0,
                      shape.rows);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const KernelSet& scalar = kernels_by_name("scalar");
  const SignMatrix stored(scalar, s.view, {}, 0);
  if (!agrees(shape, y, tolerance(shape.cols, 1),
              [&](std::int64_t tokens, float* want, std::int64_t rows) {
                scalar.gemm_sign1_f32(stored.signs(), nullptr, x.data(), tokens, want, shape.rows,
                                      0, rows);
              })) {
    state.SkipWithError("differs from the scalar kernel");
  }
  set_counters(state, shape, static_cast<double>(s.words.size() * 8));
}

template <class W, DenseType kType>
void bench_dense(benchmark::State& state, const KernelSet* k, DenseGemm<W> KernelSet::*gemm,
                 Shape shape) {
  Rng rng(1);
  DenseMatrix<W> w;
  if constexpr (kType == DenseType::kF16 || kType == DenseType::kBF16) {
    make_dense16(rng, shape.rows * shape.cols, kType, w);
  } else {
    make_dense(rng, shape.rows * shape.cols, w);
  }
  const std::vector<float> x = random_floats(rng, shape.tokens * shape.cols);
  std::vector<float> y(size(shape.rows * shape.tokens));
  for (auto _ : state) {
    (k->*gemm)(w.stored.data(), shape.cols, x.data(), shape.tokens, y.data(), shape.rows, 0,
               shape.rows);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const KernelSet& scalar = kernels_by_name("scalar");
  if (!agrees(shape, y, tolerance(shape.cols, 3),
              [&](std::int64_t tokens, float* want, std::int64_t rows) {
                (scalar.*gemm)(w.stored.data(), shape.cols, x.data(), tokens, want, shape.rows, 0,
                               rows);
              })) {
    state.SkipWithError("differs from the scalar kernel");
  }
  set_counters(state, shape, static_cast<double>(w.stored.size() * sizeof(W)));
}

template <class Block>
void bench_blocks_i8(benchmark::State& state, const KernelSet* k, formats::DType type,
                     Shape shape) {
  Rng rng(1);
  DenseMatrix<Block> w;
  make_dense(rng, shape.rows * shape.cols, w);
  const auto* stored = reinterpret_cast<const std::byte*>(w.stored.data());
  const BlockMatrix packed(*k, type, stored, shape.rows, shape.cols);
  const RandomInt8 x(rng, shape.tokens, shape.cols);
  std::vector<float> y(size(shape.rows * shape.tokens));
  for (auto _ : state) {
    packed.gemm()(packed.blocks(), x.rows(), shape.tokens, y.data(), shape.rows, 0, shape.rows);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  const BlockMatrix reference(kernels_by_name("scalar"), type, stored, shape.rows, shape.cols);
  if (!agrees(shape, y, 0, [&](std::int64_t tokens, float* want, std::int64_t rows) {
        reference.gemm()(reference.blocks(), x.rows(), tokens, want, shape.rows, 0, rows);
      })) {
    state.SkipWithError("differs from the scalar kernel");
  }
  set_counters(state, shape, static_cast<double>(w.stored.size() * sizeof(Block)));
}

/// A head of 64 columns, 3 query heads to a key/value head, as SmolLM2 has them: the queries of one
/// token, or of 16, at the end of 1024 positions.
void bench_attention(benchmark::State& state, const KernelSet* k, KvType type,
                     std::int64_t tokens) {
  constexpr std::int64_t kDim = 64;
  constexpr std::int64_t kGroup = 3;
  constexpr std::int64_t kPositions = 1024;
  Rng rng(1);
  const KvLayout layout{type, kDim};
  constexpr std::int64_t kBlocks = kPositions / kKvBlock;
  Buffer<std::byte> keys;
  Buffer<std::byte> values;
  keys.reserve(kBlocks * layout.key_bytes());
  values.reserve(kBlocks * layout.value_bytes());
  for (std::int64_t p = 0; p < kPositions; ++p) {
    layout.store(*k, p % kKvBlock, random_floats(rng, kDim).data(), random_floats(rng, kDim).data(),
                 keys.data() + p / kKvBlock * layout.key_bytes(),
                 values.data() + p / kKvBlock * layout.value_bytes());
  }
  const std::int64_t count = tokens * kGroup;
  const std::vector<float> q = random_floats(rng, count * kDim);
  Buffer<float> scratch;
  scratch.reserve(attend_scratch(kDim));
  const auto attend_by = [&](const KernelSet& set, float* out) {
    const Attend attend = type == KvType::kF32   ? set.attend_f32
                          : type == KvType::kF16 ? set.attend_f16
                                                 : set.attend_q8_0;
    attend({keys.data(), values.data(), kDim}, {q.data(), count, kGroup, kPositions - tokens},
           scratch.data(), out, kGroup * kDim);
  };
  std::vector<float> out(size(count * kDim));
  for (auto _ : state) {
    attend_by(*k, out.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  std::vector<float> want(out.size());
  attend_by(kernels_by_name("scalar"), want.data());
  // The bound of kernels.h for both, with |q|, |k| and |v| < 3.
  constexpr double kBound = 2 * (2.0 * kDim * 0x1p-23 * kDim * 9 + 0x1p-22 * kPositions) * 3;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!(std::abs(out[i] - want[i]) <= kBound)) {
      state.SkipWithError("differs from the scalar kernel");
      break;
    }
  }
  set_counters(state, {2 * kDim, kPositions, count},
               static_cast<double>(kBlocks * (layout.key_bytes() + layout.value_bytes())));
}

enum class CodeKind { kGrid, kLevels, kProducts };

/// What is done with codes: decoded, or multiplied with one token.
enum class CodeUse { kDecode, kGemv };

/// Weights a second from codes of so many bits in groups of 64.
void bench_codes(benchmark::State& state, const KernelSet* k, int bits, CodeKind kind,
                 CodeUse use) {
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kCols = 1536;
  constexpr std::int64_t kGroup = 64;
  constexpr std::int64_t kGroups = kCols / kGroup;
  Rng rng(1);
  std::vector<std::byte> bytes(size(kRows * formats::codes_row_bytes(kCols, bits)));
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.below(256));
  std::vector<std::int32_t> ends;
  for (std::int64_t s = 1; s <= kGroups; ++s) {
    ends.push_back(static_cast<std::int32_t>(s * kGroup));
  }
  const std::vector<float> scale = random_floats(rng, kRows * kGroups);
  const std::vector<float> zero = random_floats(rng, kRows * kGroups);
  const std::vector<float> levels = random_floats(rng, kRows * kGroups << bits);
  const std::vector<float> signs = random_floats(rng, kGroups * 8);
  const std::vector<float> row_scale = random_floats(rng, kRows * kGroups * 2);
  const std::vector<float> col_scale = random_floats(rng, kCols * 2);
  const CodedProducts products = {signs.data(), row_scale.data(), col_scale.data()};
  const CodedRows w = {{bytes.data(), kRows, kCols, bits},
                       ends.data(),
                       kGroups,
                       scale.data(),
                       zero.data(),
                       kind == CodeKind::kLevels ? levels.data() : nullptr,
                       kind == CodeKind::kProducts ? &products : nullptr};
  const std::vector<float> x = random_floats(rng, kCols);
  std::vector<float> out(size(kRows * kCols + kDecodeRoom));
  for (auto _ : state) {
    if (use == CodeUse::kDecode) {
      k->decode_codes(w, out.data(), 0, kRows);
    } else {
      k->gemv_codes(w, x.data(), out.data(), 0, kRows);
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  std::vector<float> want(out.size());
  kernels_by_name("scalar").decode_codes(w, want.data(), 0, kRows);
  if (use == CodeUse::kGemv) {
    const std::vector<float> weights = want;
    k->gemm_f32(weights.data(), kCols, x.data(), 1, want.data(), kRows, 0, kRows);
  }
  const std::int64_t results = use == CodeUse::kDecode ? kRows * kCols : kRows;
  if (!std::equal(want.begin(), want.begin() + results, out.begin())) {
    state.SkipWithError("differs from the scalar kernel");
  }
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
}

std::string bench_name(const KernelSet* k, const std::string& op, const Shape& shape) {
  return op + "/" + std::string(k->name) + "/" + std::to_string(shape.rows) + "x" +
         std::to_string(shape.cols) + "x" + std::to_string(shape.tokens);
}

void register_all() {
  for (const KernelSet* k : available_kernels()) {
    for (const Shape& shape : kShapes) {
      // The reference is not there to be fast: a few small shapes are enough.
      if (k->name == "scalar" && shape.rows * shape.cols * shape.tokens > (1 << 23)) continue;
      const auto add = [&](const std::string& op, auto function, auto... arguments) {
        benchmark::RegisterBenchmark(bench_name(k, op, shape).c_str(), function, k, arguments...,
                                     shape);
      };
      add("sign1_i8", bench_sign1_i8);
      add("sign1_f32", bench_sign1_f32);
      add("f32", bench_dense<float, DenseType::kF32>, &KernelSet::gemm_f32);
      add("f16", bench_dense<f16_bits, DenseType::kF16>, &KernelSet::gemm_f16);
      add("bf16", bench_dense<bf16_bits, DenseType::kBF16>, &KernelSet::gemm_bf16);
      add("q8_0", bench_dense<formats::BlockQ8_0, DenseType::kQ8_0>, &KernelSet::gemm_q8_0);
      add("q4_1", bench_dense<formats::BlockQ4_1, DenseType::kQ4_1>, &KernelSet::gemm_q4_1);
      add("q8_0_i8", bench_blocks_i8<formats::BlockQ8_0>, formats::DType::kQ8_0);
      add("q4_0_i8", bench_blocks_i8<formats::BlockQ4_0>, formats::DType::kQ4_0);
    }
    for (const int bits : {2, 3, 4, 8}) {
      const auto add = [&](const std::string& op, CodeKind kind) {
        const std::string name = op + "/" + std::string(k->name);
        benchmark::RegisterBenchmark(name.c_str(), bench_codes, k, bits, kind, CodeUse::kDecode);
        if (k->gemv_codes == nullptr) return;
        benchmark::RegisterBenchmark(("gemv_" + name).c_str(), bench_codes, k, bits, kind,
                                     CodeUse::kGemv);
      };
      const std::string op = "codes" + std::to_string(bits);
      add(op, CodeKind::kGrid);
      add(op + "_levels", CodeKind::kLevels);
      if (bits == 2) add(op + "_products", CodeKind::kProducts);
    }
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      for (const std::int64_t tokens : {1, 16}) {
        const std::string name = "attention_" + std::string(word_of(type)) + "/" +
                                 std::string(k->name) + "/" + std::to_string(tokens);
        benchmark::RegisterBenchmark(name.c_str(), bench_attention, k, type, tokens);
      }
    }
  }
}

const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace onebit::kernels
