// Linear layers: the int8 product exactly, the copies that loading makes, shared calls.
#include "runtime/linear.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <utility>

#include "arch/test_models.h"
#include "base/test_paths.h"
#include "runtime/activations.h"

namespace onebit::runtime {
namespace {

using formats::DType;

std::vector<float> random_floats(std::int64_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
  return values;
}

/// A 1-bit layer with its words, [rows, cols].
struct RandomLayer {
  RandomLayer(const kernels::KernelSet& kernels, std::int64_t rows, std::int64_t cols,
              bool output_norm, std::uint64_t seed)
      : weights(random_floats(rows * cols, seed)),
        words(static_cast<std::size_t>(rows * formats::sign1_row_words(cols))) {
    const auto row_words = static_cast<std::size_t>(formats::sign1_row_words(cols));
    for (std::int64_t r = 0; r < rows; ++r) {
      formats::sign1_pack_row(
          std::span(weights).subspan(static_cast<std::size_t>(r * cols),
                                     static_cast<std::size_t>(cols)),
          std::span(words).subspan(static_cast<std::size_t>(r) * row_words, row_words));
    }
    const formats::Sign1View sign{words.data(), rows, cols};
    linear = OneBitLayer{{sign, random_floats(cols, seed + 1), random_floats(rows, seed + 2)},
                         kernels::SignMatrix(kernels, sign, {}, 0),
                         output_norm};
  }

  const arch::OneBitMatrix& matrix() const { return std::get<OneBitLayer>(linear).matrix; }

  std::vector<float> weights;  ///< whose signs are S
  std::vector<std::uint64_t> words;
  Linear linear;
};

/// What kI8 computes before a LayerNorm, in its own order of operations: exact.
float rounded_product(const RandomLayer& layer, std::int64_t r, const float* x) {
  const arch::OneBitMatrix& m = layer.matrix();
  const auto cols = static_cast<std::size_t>(m.sign.cols);
  constexpr std::size_t kBlock = kernels::kActivationBlock;
  float sum = 0;
  for (std::size_t begin = 0; begin < cols; begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, cols);
    float largest = 0;
    for (std::size_t c = begin; c < end; ++c) largest = std::max(largest, std::abs(x[c] * m.g[c]));
    const float scale = largest / 127.0F;
    std::int32_t dot = 0;
    for (std::size_t c = begin; c < end; ++c) {
      const auto q = static_cast<std::int32_t>(std::nearbyint(x[c] * m.g[c] / scale));
      dot += layer.weights[static_cast<std::size_t>(r) * cols + c] < 0 ? -q : q;
    }
    sum = std::fma(static_cast<float>(dot), scale, sum);
  }
  return sum * m.h[static_cast<std::size_t>(r)];
}

TEST(LinearRunner, Int8ProductsAreExact) {
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      LinearRunner runner(*set, pool, /*int8_activations=*/true);
      for (const std::int64_t cols : {1, 63, 64, 130}) {
        // Three layers in one call, none of them whole units of work, and a longer one than before.
        const RandomLayer a(*set, 1, cols, false, 1);
        const RandomLayer b(*set, 33, cols, false, 2);
        const RandomLayer c(*set, 97, cols, false, 3);
        for (const std::int64_t tokens : {1, 2, 9, 100}) {  // the last in parts
          const std::vector<float> x = random_floats(tokens * cols, 4);
          std::vector<float> y[] = {std::vector<float>(static_cast<std::size_t>(tokens * 1)),
                                    std::vector<float>(static_cast<std::size_t>(tokens * 33)),
                                    std::vector<float>(static_cast<std::size_t>(tokens * 97))};
          const RandomLayer* layers[] = {&a, &b, &c};
          const LinearJob jobs[] = {
              {&a.linear, y[0].data()}, {&b.linear, y[1].data()}, {&c.linear, y[2].data()}};
          runner.run(jobs, x.data(), tokens);
          for (std::size_t j = 0; j < 3; ++j) {
            const std::int64_t rows = out_features(layers[j]->linear);
            for (std::int64_t t = 0; t < tokens; ++t) {
              for (std::int64_t r = 0; r < rows; ++r) {
                ASSERT_EQ(y[j][static_cast<std::size_t>(t * rows + r)],
                          rounded_product(*layers[j], r, x.data() + t * cols))
                    << set->name << " in " << cols << " token " << t << " row " << r;
              }
            }
          }
        }
      }
    }
  }
}

/// A q8_0 matrix over activations of two int8 terms: far closer to the exact product than one term
/// comes, whose steps of max|x| / 127 the large value here makes wide.
TEST(LinearRunner, Q8_0TakesActivationsInTwoTerms) {
  constexpr std::int64_t kRows = 100;
  constexpr std::int64_t kCols = 160;
  constexpr std::int64_t kTokens = 50;
  constexpr auto kBlocks = static_cast<std::size_t>(kRows * kCols / formats::kQuantBlock);
  Rng rng(11);
  std::vector<formats::BlockQ8_0> stored(kBlocks);
  for (formats::BlockQ8_0& block : stored) {
    block.d = f32_to_f16(0x1p-7F);
    for (std::int8_t& q : block.qs) q = static_cast<std::int8_t>(rng.below(256));
  }
  std::vector<float> x = random_floats(kTokens * kCols, 12);
  for (std::int64_t t = 0; t < kTokens; ++t) x[static_cast<std::size_t>(t * kCols + 7)] = 100.0F;
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    DenseMatrix matrix;
    matrix.view = {DType::kQ8_0, {kRows, kCols}, std::as_bytes(std::span(stored))};
    matrix.blocks.emplace(*set, DType::kQ8_0, matrix.view.data.data(), kRows, kCols);
    const Linear linear = std::move(matrix);
    ThreadPool pool(2);
    LinearRunner runner(*set, pool, /*int8_activations=*/true);
    std::vector<float> y(static_cast<std::size_t>(kTokens * kRows));
    const LinearJob jobs[] = {{&linear, y.data()}};
    runner.run(jobs, x.data(), kTokens);
    double worst = 0;
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (std::int64_t r = 0; r < kRows; ++r) {
        double sum = 0;
        for (std::int64_t c = 0; c < kCols; ++c) {
          const formats::BlockQ8_0& block = stored[static_cast<std::size_t>(
              r * (kCols / formats::kQuantBlock) + c / formats::kQuantBlock)];
          sum += 0x1p-7 * block.qs[c % formats::kQuantBlock] *
                 static_cast<double>(x[static_cast<std::size_t>(t * kCols + c)]);
        }
        worst = std::max(worst, std::abs(sum - y[static_cast<std::size_t>(t * kRows + r)]));
      }
    }
    // Weights of at most 1; what the second term leaves of a value is half a step of max|x| / 127 /
    // 254, and f32 rounds sums below 300 some ten times. One term alone errs by up to 100 times
    // more.
    EXPECT_LE(worst, kCols * 100.0 / 127 / 254 / 2 + 10 * 300 * 0x1p-24) << set->name;
  }
}

TEST(LinearRunner, TheOutputNormComesLast) {
  const kernels::KernelSet& set = kernels::best_kernels();
  ThreadPool pool(2);
  const std::int64_t rows = 70;
  const std::int64_t cols = 100;
  const std::vector<float> x = random_floats(2 * cols, 5);
  for (const bool int8 : {false, true}) {
    LinearRunner runner(set, pool, int8);
    std::vector<float> plain(2 * rows);
    std::vector<float> normed(2 * rows);
    const RandomLayer without(kernels::best_kernels(), rows, cols, false, 6);
    const RandomLayer with(kernels::best_kernels(), rows, cols, true, 6);
    const LinearJob jobs[] = {{&without.linear, plain.data()}, {&with.linear, normed.data()}};
    runner.run(jobs, x.data(), 2);
    for (std::int64_t t = 0; t < 2; ++t) {
      set.layer_norm(plain.data() + t * rows, 1e-5F, plain.data() + t * rows, rows);
    }
    EXPECT_EQ(plain, normed) << (int8 ? "int8" : "f32");
  }
}

TEST(LinearRunner, ARowWithoutFiniteValuesShows) {
  ThreadPool pool(1);
  LinearRunner runner(kernels::best_kernels(), pool, /*int8_activations=*/true);
  const RandomLayer layer(kernels::best_kernels(), 5, 8, false, 7);
  std::vector<float> x = random_floats(8, 8);
  x[3] = std::numeric_limits<float>::infinity();
  std::vector<float> y(5);
  const LinearJob jobs[] = {{&layer.linear, y.data()}};
  runner.run(jobs, x.data(), 1);
  for (const float v : y) EXPECT_TRUE(std::isnan(v));
}

/// The weights that multiplying by unit vectors shows: [rows, cols].
std::vector<float> weights_of(const Linear& w) {
  ThreadPool pool(1);
  LinearRunner runner(kernels::best_kernels(), pool, false);
  const std::int64_t cols = in_features(w);
  const std::int64_t rows = out_features(w);
  std::vector<float> unit(static_cast<std::size_t>(cols * cols));
  for (std::int64_t c = 0; c < cols; ++c) unit[static_cast<std::size_t>(c * cols + c)] = 1;
  std::vector<float> columns(static_cast<std::size_t>(cols * rows));
  const LinearJob jobs[] = {{&w, columns.data()}};
  runner.run(jobs, unit.data(), cols);
  std::vector<float> result(columns.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      result[static_cast<std::size_t>(r * cols + c)] =
          columns[static_cast<std::size_t>(c * rows + r)];
    }
  }
  return result;
}

// Every value is the file's, whatever copy of it the layer holds.
TEST(LoadLinear, KeepsEveryValueOfEveryType) {
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.dim = config.ffn = 256;  // a whole block of the K types
  config.heads = config.kv_heads = 4;
  config.head_dim = 64;
  const arch::test_models::TinyModel model = arch::test_models::random_model(config, 9);
  const testing::TempDir dir;
  ThreadPool pool(1);
  const std::pair<DType, DType> held_as[] = {
      {DType::kF32, DType::kF32},   {DType::kF16, DType::kF16},   {DType::kBF16, DType::kBF16},
      {DType::kQ8_0, DType::kQ8_0}, {DType::kQ4_1, DType::kQ4_1}, {DType::kQ4_0, DType::kQ8_0},
      {DType::kQ5_0, DType::kQ8_0}, {DType::kQ5_1, DType::kF32},  {DType::kQ2_K, DType::kF32},
      {DType::kQ3_K, DType::kF32},  {DType::kQ4_K, DType::kF32},  {DType::kQ5_K, DType::kF32},
      {DType::kQ6_K, DType::kF32}};
  for (const auto& [stored, held] : held_as) {
    SCOPED_TRACE(formats::info(stored).name);
    arch::test_models::write_gguf(model, dir / "m.gguf", stored);
    const arch::Checkpoint checkpoint = arch::Checkpoint::open(dir / "m.gguf");
    const Linear linear =
        load_linear(checkpoint, arch::Role::kAttnQ, 1, kernels::best_kernels(), false, pool);
    EXPECT_EQ(std::get<DenseMatrix>(linear).view.dtype, held);
    std::vector<float> expected(model.weights.at({arch::Role::kAttnQ, 1}).size());
    checkpoint.read_f32(arch::Role::kAttnQ, 1, expected);
    EXPECT_EQ(weights_of(linear), expected);
  }
}

/// A packed model whose matrices are codes by every spec, in turn.
arch::Checkpoint coded_model(const std::filesystem::path& folder) {
  arch::ModelConfig config = arch::test_models::tiny_config();
  const arch::test_models::TinyModel model = arch::test_models::random_model(config, 9);
  arch::test_models::write_gguf(model, folder / "source.gguf");
  arch::PackOptions options;
  options.provenance = {"rtn", arch::Form::kPaper, "tiny", "hash", "onebit 0.1.0"};
  options.embedding = options.head = DType::kF16;
  const std::vector<arch::CodeSpec> specs = arch::test_models::code_specs();
  for (const arch::TensorId& id : arch::tensor_ids(config)) {
    if (!arch::find_tensor(*config.arch, id.role)->linear) continue;
    options.codes.emplace(id, specs[options.codes.size() % specs.size()]);
  }
  arch::test_models::write_packed(folder / "codes.gguf", model,
                                  arch::Checkpoint::open(folder / "source.gguf"), options);
  return arch::Checkpoint::open(folder / "codes.gguf");
}

TEST(LoadLinear, CodesAreWhatTheyStandFor) {
  const testing::TempDir dir;
  const arch::Checkpoint checkpoint = coded_model(dir / "");
  ThreadPool pool(1);
  for (const arch::TensorId& id : arch::tensor_ids(checkpoint.config())) {
    if (!checkpoint.codes(id.role, id.layer)) continue;
    const Linear linear =
        load_linear(checkpoint, id.role, id.layer, kernels::best_kernels(), false, pool);
    std::vector<float> expected(
        static_cast<std::size_t>(out_features(linear) * in_features(linear)));
    checkpoint.read_f32(id.role, id.layer, expected);
    // Scales of inputs are applied to them, not to the weights: two roundings in another order.
    const std::vector<float> found = weights_of(linear);
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_FLOAT_EQ(found[i], expected[i]) << i;
  }
}

/// Matrices of codes, multiplied together, are what they stand for.
void check_codes(const arch::Checkpoint& checkpoint, const std::vector<arch::TensorId>& ids) {
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    ThreadPool one(1);
    std::vector<Linear> layers;
    layers.reserve(ids.size());
    for (const auto& [role, layer] : ids) {
      layers.push_back(load_linear(checkpoint, role, layer, *set, false, one));
    }
    const std::int64_t cols = in_features(layers.front());
    const std::vector<float> x = random_floats(100 * cols, 4);
    const auto run = [&](ThreadPool& pool, std::int64_t first, std::int64_t tokens) {
      LinearRunner runner(*set, pool, /*int8_activations=*/true);
      std::vector<std::vector<float>> y;
      y.reserve(layers.size());
      std::vector<LinearJob> jobs;
      for (const Linear& layer : layers) {
        y.emplace_back(static_cast<std::size_t>(tokens * out_features(layer)));
      }
      for (std::size_t i = 0; i < layers.size(); ++i) jobs.push_back({&layers[i], y[i].data()});
      runner.run(jobs, x.data() + first * cols, tokens);
      return y;
    };
    const auto whole = run(one, 0, 100);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      std::vector<float> w(static_cast<std::size_t>(out_features(layers[i]) * cols));
      checkpoint.read_f32(ids[i].role, ids[i].layer, w);
      for (std::size_t j = 0; j < whole[i].size(); ++j) {
        const std::size_t rows = w.size() / static_cast<std::size_t>(cols);
        double sum = 0;
        double size = 0;
        for (std::size_t c = 0; c < static_cast<std::size_t>(cols); ++c) {
          const double term =
              static_cast<double>(w[j % rows * static_cast<std::size_t>(cols) + c]) *
              x[j / rows * static_cast<std::size_t>(cols) + c];
          sum += term;
          size += std::abs(term);
        }
        // The bound of DenseGemm, and a rounding of the weight or the activation.
        ASSERT_NEAR(whole[i][j], sum, static_cast<double>(cols + 2) * 0x1p-23 * size);
      }
    }
    ThreadPool three(3);
    EXPECT_EQ(run(three, 0, 100), whole) << set->name;
    const auto last = run(three, 99, 1);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      EXPECT_TRUE(std::equal(last[i].rbegin(), last[i].rend(), whole[i].rbegin())) << set->name;
    }
  }
}

TEST(LinearRunner, CodesOfAnyNumberOfTokensAndThreads) {
  const testing::TempDir dir;
  const arch::Checkpoint checkpoint = coded_model(dir / "");
  // 2 bits in three groups, 3 bits with a permutation, 8 bits with scales of inputs.
  check_codes(checkpoint,
              {{arch::Role::kAttnK, 0}, {arch::Role::kAttnV, 0}, {arch::Role::kFfnGate, 0}});
  // Products, in order and with a permutation.
  check_codes(checkpoint, {{arch::Role::kAttnQ, 1}, {arch::Role::kAttnK, 1}});
}

/// A packed model of one kind of matrix.
arch::Checkpoint packed_model(const std::filesystem::path& folder, const arch::Storage& storage,
                              const arch::ActivationRule& rule,
                              const std::function<void(arch::PackedWriter&, const arch::TensorId&,
                                                       const formats::Shape&)>& add) {
  const arch::ModelConfig config = arch::test_models::tiny_config();
  const arch::test_models::TinyModel model = arch::test_models::random_model(config, 9);
  arch::test_models::write_gguf(model, folder / "source.gguf");
  arch::PackOptions options;
  options.provenance.method = "test";
  options.provenance.activations = rule;
  options.embedding = options.head = DType::kF16;
  for (const arch::TensorId& id : arch::tensor_ids(config)) {
    if (arch::find_tensor(*config.arch, id.role)->linear) options.set(id, storage);
  }
  arch::PackedWriter writer(folder / "p.gguf", arch::Checkpoint::open(folder / "source.gguf"),
                            options);
  for (const arch::TensorId& id : writer.order()) {
    const arch::TensorSpec& spec = *arch::find_tensor(*config.arch, id.role);
    if (spec.linear) {
      add(writer, id, arch::shape_of(config, spec));
    } else {
      writer.add_dense(id.role, id.layer, model.weights.at(id));
    }
  }
  writer.finish();
  return arch::Checkpoint::open(folder / "p.gguf");
}

/// Σ_c W[r, c] x[t, c] in f64 for every token and row, and the sum of the terms' magnitudes.
struct Product {
  std::vector<double> sum;
  std::vector<double> size;
};

Product product_of(const arch::Checkpoint& checkpoint, arch::Role role, const float* x,
                   std::int64_t tokens, std::int64_t rows, std::int64_t cols) {
  std::vector<float> w(static_cast<std::size_t>(rows * cols));
  checkpoint.read_f32(role, 0, w);
  Product product;
  product.sum.resize(static_cast<std::size_t>(tokens * rows));
  product.size.resize(product.sum.size());
  for (std::size_t i = 0; i < product.sum.size(); ++i) {
    const float* row = w.data() + static_cast<std::int64_t>(i) % rows * cols;
    const float* token = x + static_cast<std::int64_t>(i) / rows * cols;
    for (std::int64_t c = 0; c < cols; ++c) {
      product.sum[i] += double{row[c]} * token[c];
      product.size[i] += std::abs(double{row[c]} * token[c]);
    }
  }
  return product;
}

TEST(LinearRunner, TwoFactorsOfAnyNumberOfTokens) {
  const testing::TempDir dir;
  constexpr std::int64_t kRank = 3;
  const arch::Checkpoint checkpoint = packed_model(
      dir / "", arch::LowRankSpec{.rank = kRank, .type = DType::kF16}, {},
      [](arch::PackedWriter& writer, const arch::TensorId& id, const formats::Shape& shape) {
        writer.add_low_rank(id.role, id.layer, random_floats(shape[0] * kRank, 5),
                            random_floats(kRank * shape[1], 6));
      });
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const kernels::KernelSet& set = kernels::best_kernels();
    const Linear layer = load_linear(checkpoint, arch::Role::kFfnUp, 0, set, true, pool);
    const std::int64_t cols = in_features(layer);
    const std::int64_t rows = out_features(layer);
    EXPECT_EQ(stored_bytes(layer), static_cast<std::uint64_t>(2 * kRank * (rows + cols)));
    const std::vector<float> x = random_floats(100 * cols, 4);
    for (const std::int64_t tokens : {1, 7, 100}) {
      std::vector<float> y(static_cast<std::size_t>(tokens * rows));
      LinearRunner runner(set, pool, /*int8_activations=*/true);
      const LinearJob jobs[] = {{&layer, y.data()}};
      runner.run(jobs, x.data(), tokens);
      const Product expected =
          product_of(checkpoint, arch::Role::kFfnUp, x.data(), tokens, rows, cols);
      for (std::size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], expected.sum[i], 1e-4 * expected.size[i]) << i;
      }
    }
  }
}

// What training rounded to 8 bits is a sum of whole numbers at run time, whatever the block.
TEST(LinearRunner, TernaryMatricesOfRoundedInputsAreExact) {
  const testing::TempDir dir;
  const arch::ActivationRule rule = {arch::InputNorm::kLayer, arch::Rounding::kAbsMax, 8, 16};
  const arch::Checkpoint checkpoint = packed_model(
      dir / "", arch::CodeSpec{.bits = 2}, rule,
      [](arch::PackedWriter& writer, const arch::TensorId& id, const formats::Shape& shape) {
        arch::CodeValues values;
        Rng rng(7);
        values.codes.resize(static_cast<std::size_t>(shape[0] * shape[1]));
        for (auto& code : values.codes) code = static_cast<std::uint8_t>(1 + rng.below(3));
        values.ends = arch::group_ends(shape[1], 0);
        values.scale.assign(static_cast<std::size_t>(shape[0]), 0.25F);
        writer.add_codes(id.role, id.layer, values);
      });
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    ThreadPool pool(2);
    const Linear layer = load_linear(checkpoint, arch::Role::kFfnDown, 0, *set, true, pool);
    ASSERT_TRUE(std::holds_alternative<TernaryLayer>(layer));
    const std::int64_t cols = in_features(layer);
    const std::int64_t rows = out_features(layer);
    const std::vector<float> x = random_floats(60 * cols, 4);
    std::vector<float> y(static_cast<std::size_t>(60 * rows));
    LinearRunner runner(*set, pool, /*int8_activations=*/true, rule, 1e-5);
    const LinearJob jobs[] = {{&layer, y.data()}};
    runner.run(jobs, x.data(), 60);
    std::vector<float> ruled(x.size());
    for (std::int64_t t = 0; t < 60; ++t) {
      apply_rule(rule, 1e-5, x.data() + t * cols, cols, ruled.data() + t * cols);
    }
    const Product expected =
        product_of(checkpoint, arch::Role::kFfnDown, ruled.data(), 60, rows, cols);
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], expected.sum[i], 1e-6 * expected.size[i]) << set->name << " " << i;
    }
  }
}

TEST(ActivationRule, RoundsAsItSays) {
  std::vector<float> row = {3.0F, -1.6F, 0.5F, 0.0F};
  round_row(arch::Rounding::kAbsMax, 3, row.data(), 4);
  EXPECT_EQ(row, (std::vector<float>{3, -2, 0, 0}));  // a step of 1, half to even
  row = {-1.0F, 2.0F, 0.4F, 0.6F};
  round_row(arch::Rounding::kMinMax, 2, row.data(), 4);
  EXPECT_EQ(row, (std::vector<float>{-1, 2, 0, 1}));
  row = {0.0F, 0.0F};
  round_row(arch::Rounding::kAbsMax, 8, row.data(), 2);
  EXPECT_EQ(row, (std::vector<float>{0, 0}));

  row = {1.0F, std::numeric_limits<float>::quiet_NaN()};
  const arch::ActivationRule steps = {arch::InputNorm::kNone, arch::Rounding::kAbsMax, 8, 16};
  EXPECT_TRUE(std::isnan(apply_rule(steps, 0, row.data(), 2, row.data()).step));
  EXPECT_TRUE(std::isnan(row[1]));

  const float x[] = {1, 2, 3, 6};
  float y[4];
  const arch::ActivationRule layer = {arch::InputNorm::kLayer, arch::Rounding::kAbsMax,
                                      arch::ActivationRule::kExact, 16};
  EXPECT_TRUE(std::isnan(apply_rule(layer, 0, x, 4, y).step));
  const float deviation = std::sqrt(3.5F);
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(y[i], (x[i] - 3) / deviation);
}

}  // namespace
}  // namespace onebit::runtime
