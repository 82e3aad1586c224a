// What a matrix costs, against transformers (tools/golden/make_sensitivity.py), and what must not
// change it. The comparison on a larger model is tools/accept/sensitivity.py.
#include "quant/sensitivity.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "quant/quantize_model.h"

namespace onebit::quant {
namespace {

using ::testing::HasSubstr;

/// The method that changes nothing.
class Nothing final : public Quantizer {
 public:
  arch::Storage storage(const arch::TensorId&, const formats::Shape&) const override {
    return formats::DType::kF32;
  }
  MatrixReport add(const MatrixTask&, arch::PackedWriter&) override { return {}; }
  FakeQuantized fake_quantize(const MatrixTask& task) override {
    FakeQuantized result;
    result.weights.assign(task.weights.begin(), task.weights.end());
    result.report.shape = {task.out, task.in};
    result.report.stored_bytes = 4 * task.weights.size();
    return result;
  }
};

constexpr int kBits[] = {32};
const Method kNothing = {.name = "nothing",
                         .summary = "",
                         .bits = kBits,
                         .make = [](const arch::Checkpoint&, const MethodOptions&, ThreadPool&) {
                           return std::unique_ptr<Quantizer>(std::make_unique<Nothing>());
                         }};

Setting one_bit(arch::Form form = arch::Form::kFree) {
  Setting setting{&find_method("onebit"), {}};
  setting.options.form = form;
  setting.options.scales = formats::DType::kF32;
  return setting;
}

struct Found {
  SensitivityBaseline baseline;
  std::vector<Sensitivity> rows;
};

Found measure(const arch::Checkpoint& source, const std::vector<text::TokenId>& tokens,
              std::int64_t window, const SensitivityOptions& options) {
  Found found;
  NoProgress progress;
  measure_sensitivity(
      source, {tokens, window}, options,
      [&](const SensitivityBaseline& baseline) { found.baseline = baseline; },
      [&](const Sensitivity& row) { found.rows.push_back(row); }, progress, {});
  return found;
}

/// A random model on disk, and windows of random tokens.
class SensitivityTest : public ::testing::Test {
 protected:
  SensitivityTest() {
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 3), path());
    Rng rng(1);
    for (int i = 0; i < 4 * 21; ++i) {
      tokens.push_back(static_cast<text::TokenId>(rng.next() % 37));
    }
  }

  std::filesystem::path path() const { return dir / "tiny.gguf"; }
  arch::Checkpoint source() const { return arch::Checkpoint::open(path()); }
  Found measure_tiny(const SensitivityOptions& options) const {
    return measure(source(), tokens, 21, options);
  }

  testing::TempDir dir;
  std::vector<text::TokenId> tokens;
};

void expect_equal(const Sensitivity& a, const Sensitivity& b) {
  EXPECT_EQ(a.matrix, b.matrix);
  EXPECT_EQ(a.report.name, b.report.name);
  EXPECT_EQ(a.kl_mean, b.kl_mean);
  EXPECT_EQ(a.kl_stderr, b.kl_stderr);
  EXPECT_EQ(a.kl_p99, b.kl_p99);
  EXPECT_EQ(a.ppl, b.ppl);
  EXPECT_EQ(a.output_error, b.output_error);
  EXPECT_EQ(a.report.relative_error, b.report.relative_error);
}

void expect_golden(torch::ScalarType compute, double epsilon) {
  const std::filesystem::path model = testing::model("stories260k.gguf");
  ONEBIT_REQUIRE_FILE(model);
  const nlohmann::json golden =
      nlohmann::json::parse(read_file(testing::golden("sensitivity/stories260k.json")));
  const arch::Checkpoint source = arch::Checkpoint::open(model);
  std::vector<std::string> forms;
  SensitivityOptions options;
  options.compute = compute;
  for (const arch::Form form : {arch::Form::kFree, arch::Form::kPaper, arch::Form::kFoldable}) {
    options.settings.push_back(one_bit(form));
    forms.emplace_back(word_of(form));
  }
  const auto row_of = [&](const arch::TensorId& id, std::size_t setting) {
    const std::string name =
        arch::gguf_name(*arch::find_tensor(*source.config().arch, id.role), id.layer);
    for (const nlohmann::json& row : golden.at("rows")) {
      if (row.at("matrix") == name && row.at("form") == forms[setting]) return &row;
    }
    return static_cast<const nlohmann::json*>(nullptr);
  };
  options.wanted = [&](const arch::TensorId& id, std::size_t setting) {
    return row_of(id, setting) != nullptr;
  };
  const Found found = measure(source, golden.at("tokens").get<std::vector<text::TokenId>>(),
                              golden.at("window").get<std::int64_t>(), options);
  EXPECT_EQ(found.baseline.positions, 3 * 47);
  // A probability moves by a factor of e^(2ε) at most.
  const auto near = [&](double value, const nlohmann::json& expected) {
    EXPECT_NEAR(value / expected.get<double>(), 1, 3 * epsilon);
  };
  near(found.baseline.ppl, golden.at("baseline").at("ppl"));
  ASSERT_EQ(found.rows.size(), golden.at("rows").size());
  for (const Sensitivity& row : found.rows) {
    const nlohmann::json& expected = *row_of(row.matrix, row.setting);
    SCOPED_TRACE(row.report.name + " " + forms[row.setting]);
    const double kl = expected.at("kl_mean").get<double>();
    const double p99 = expected.at("kl_p99").get<double>();
    const auto bound = [&](double value) {  // sensitivity.h
      return 2 * epsilon * (std::sqrt(2 * value) + value) + epsilon * epsilon;
    };
    EXPECT_NEAR(row.kl_mean, kl, bound(kl));
    EXPECT_NEAR(row.kl_p99, p99, bound(p99));
    // Every position moves by its own bound, and a deviation by no more than the largest of them.
    EXPECT_NEAR(row.kl_stderr, expected.at("kl_stderr").get<double>(), bound(10 * p99));
    near(row.ppl, expected.at("ppl"));
    EXPECT_NEAR(row.ppl_stderr / expected.at("ppl_stderr").get<double>(), 1, 100 * epsilon);
    EXPECT_NEAR(row.report.relative_error, expected.at("relative_error").get<double>(), 1e-7);
    EXPECT_NEAR(row.output_error, expected.at("output_error").get<double>(),
                10 * epsilon * row.output_error);
  }
}

// g and h are rounded to f32, which moves logits of some tens by 6e-8 of them a layer.
TEST(Sensitivity, IsWhatTransformersFindsInFloat64) { expect_golden(torch::kFloat64, 1e-6); }

// What f32 moves logits by: as decoder_test.cc.
TEST(Sensitivity, IsWhatTransformersFinds) { expect_golden(torch::kFloat32, 1e-4); }

TEST_F(SensitivityTest, NothingCostsNothing) {
  for (const std::uint64_t logits_bytes : {std::uint64_t{1} << 30, std::uint64_t{0}}) {
    SensitivityOptions options;
    options.settings = {{&kNothing, {}}};
    options.logits_bytes = logits_bytes;
    const Found found = measure_tiny(options);
    ASSERT_EQ(found.rows.size(), 14U);
    for (const Sensitivity& row : found.rows) {
      EXPECT_EQ(row.kl_mean, 0) << row.report.name;
      EXPECT_EQ(row.kl_p99, 0);
      EXPECT_EQ(row.output_error, 0);
      EXPECT_EQ(row.ppl, found.baseline.ppl);
      EXPECT_EQ(row.ppl_stderr, found.baseline.ppl_stderr);
      EXPECT_EQ(row.source_bytes, row.report.stored_bytes);
    }
  }
}

TEST_F(SensitivityTest, RowsAreInOrderAndComplete) {
  SensitivityOptions options;
  options.settings = {one_bit(), one_bit(arch::Form::kPaper)};
  const Found found = measure_tiny(options);
  EXPECT_EQ(found.baseline.positions, 4 * 20);
  ASSERT_EQ(found.rows.size(), 28U);
  EXPECT_EQ(found.rows[0].report.name, "blk.0.attn_q");
  EXPECT_EQ(found.rows[1].report.name, "blk.0.attn_q");
  EXPECT_EQ(found.rows[27].report.name, "blk.1.ffn_down");
  for (std::size_t i = 0; i < found.rows.size(); ++i) {
    const Sensitivity& row = found.rows[i];
    EXPECT_EQ(row.setting, i % 2);
    EXPECT_GT(row.kl_mean, 0);
    EXPECT_GT(row.kl_stderr, 0);
    EXPECT_GE(row.kl_p99, row.kl_mean);
    EXPECT_GT(row.report.relative_error, 0);
    EXPECT_GT(row.output_error, 0);
    const formats::Shape& shape = row.report.shape;
    EXPECT_EQ(row.source_bytes, static_cast<std::uint64_t>(4 * shape[0] * shape[1]));
  }
}

// Neither which matrices are measured beside one, nor whether logits and blocks are kept, nor how
// windows go side by side changes its row.
TEST_F(SensitivityTest, EachRowStandsAlone) {
  SensitivityOptions options;
  options.settings = {one_bit(), one_bit(arch::Form::kFoldable)};
  const Found all = measure_tiny(options);
  for (const std::size_t picked : {0U, 5U, 17U, 27U}) {
    SensitivityOptions alone = options;
    alone.logits_bytes = picked % 2 == 0 ? 0 : alone.logits_bytes;
    alone.model_bytes = picked % 3 == 0 ? 0 : alone.model_bytes;
    alone.wanted = [&](const arch::TensorId& id, std::size_t setting) {
      return id == all.rows[picked].matrix && setting == all.rows[picked].setting;
    };
    const Found one = measure_tiny(alone);
    EXPECT_EQ(one.baseline.ppl, all.baseline.ppl);
    ASSERT_EQ(one.rows.size(), 1U);
    expect_equal(one.rows[0], all.rows[picked]);
  }
}

// One after the other: the mean over all windows is the mean of the windows' means.
TEST_F(SensitivityTest, WindowsAddUp) {
  SensitivityOptions options;
  options.settings = {one_bit()};
  options.compute = torch::kFloat64;
  const Found all = measure_tiny(options);
  std::vector<double> sum(all.rows.size(), 0.0);
  for (int w = 0; w < 4; ++w) {
    const Found one =
        measure(source(), {tokens.begin() + 21 * w, tokens.begin() + 21 * (w + 1)}, 21, options);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one.rows[i].kl_mean / 4;
  }
  for (std::size_t i = 0; i < sum.size(); ++i) {
    EXPECT_NEAR(sum[i], all.rows[i].kl_mean, 1e-12 * sum[i]);
  }
}

TEST_F(SensitivityTest, ThreadsMoveItByRoundingOnly) {
  const int before = at::get_num_threads();
  std::vector<Found> found;
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    SensitivityOptions options;
    options.settings = {one_bit()};
    options.threads = threads;
    found.push_back(measure_tiny(options));
  }
  at::set_num_threads(before);
  constexpr double kEpsilon = 1e-5;  // of f32 logits below 10, through two layers
  for (std::size_t i = 0; i < found[0].rows.size(); ++i) {
    const double kl = found[0].rows[i].kl_mean;
    EXPECT_NEAR(found[1].rows[i].kl_mean, kl, 2 * kEpsilon * (std::sqrt(2 * kl) + kl));
  }
}

/// Asks for a stop after some blocks, and counts.
class Stopper final : public Progress {
 public:
  explicit Stopper(std::uint64_t after) : after_(after) {}
  void update(std::uint64_t done, std::uint64_t total, std::string_view) override {
    EXPECT_GT(done, last_);
    EXPECT_LE(done, total);
    last_ = done;
    total_ = total;
    if (done >= after_) source_.request_stop();
  }
  std::stop_token token() const { return source_.get_token(); }
  bool complete() const { return last_ == total_; }

 private:
  std::uint64_t after_;
  std::uint64_t last_ = 0;
  std::uint64_t total_ = 1;
  std::stop_source source_;
};

TEST_F(SensitivityTest, StopsAndGoesOn) {
  SensitivityOptions options;
  options.settings = {one_bit()};
  const Found all = measure_tiny(options);
  Found parts;
  const arch::Checkpoint model = source();
  options.wanted = [&](const arch::TensorId& id, std::size_t) {
    return std::none_of(parts.rows.begin(), parts.rows.end(),
                        [&](const Sensitivity& row) { return row.matrix == id; });
  };
  const auto run = [&](Stopper& stopper) {
    measure_sensitivity(
        model, {tokens, 21}, options, [](const SensitivityBaseline&) {},
        [&](const Sensitivity& row) { parts.rows.push_back(row); }, stopper, stopper.token());
  };
  Stopper early(12);
  try {
    run(early);
    FAIL() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    EXPECT_THAT(error.what(),
                ::testing::MatchesRegex("interrupted after [0-9]+ of 14 measurements"));
  }
  EXPECT_GT(parts.rows.size(), 0U);
  EXPECT_LT(parts.rows.size(), 14U);
  Stopper never(1U << 30);
  run(never);
  EXPECT_TRUE(never.complete());
  ASSERT_EQ(parts.rows.size(), all.rows.size());
  for (std::size_t i = 0; i < all.rows.size(); ++i) expect_equal(parts.rows[i], all.rows[i]);
}

std::string message_of(const std::function<void()>& body, ErrorCode code) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

TEST_F(SensitivityTest, PackedModel) {
  QuantizeOptions quantize;
  quantize.method = &find_method("onebit");
  quantize.embedding = quantize.head = formats::DType::kF32;
  NoProgress progress;
  quantize_model(source(), dir / "packed.gguf", quantize, [](const MatrixReport&) {}, progress, {});
  const arch::Checkpoint packed = arch::Checkpoint::open(dir / "packed.gguf");
  EXPECT_THAT(message_of([&] { measure(packed, tokens, 21, {}); }, ErrorCode::kUnsupported),
              HasSubstr("already quantised by method 'onebit'"));
}

TEST_F(SensitivityTest, WeightsThatAreNotFinite) {
  auto model = arch::test_models::random_model(arch::test_models::tiny_config(), 3);
  model.weights.at({arch::Role::kFfnUp, 1})[7] = std::nanf("");
  std::filesystem::remove(path());
  arch::test_models::write_gguf(model, path());
  SensitivityOptions options;
  options.settings = {one_bit()};
  EXPECT_THAT(message_of([&] { measure_tiny(options); }, ErrorCode::kNumeric),
              HasSubstr("logits of the full-precision model: found NaN or infinity"));
}

/// A method whose weights are too large to go on with.
class Exploding final : public Quantizer {
 public:
  arch::Storage storage(const arch::TensorId&, const formats::Shape&) const override {
    return formats::DType::kF32;
  }
  MatrixReport add(const MatrixTask&, arch::PackedWriter&) override { return {}; }
  FakeQuantized fake_quantize(const MatrixTask& task) override {
    if (task.layer == 1) throw Error(ErrorCode::kNumeric, "weight [0, 0]: found too much");
    FakeQuantized result;
    result.weights.assign(task.weights.size(), 3e38F);
    result.report.shape = {task.out, task.in};
    return result;
  }
};

const Method kExploding = {.name = "exploding",
                           .summary = "",
                           .bits = kBits,
                           .make = [](const arch::Checkpoint&, const MethodOptions&, ThreadPool&) {
                             return std::unique_ptr<Quantizer>(std::make_unique<Exploding>());
                           }};

TEST_F(SensitivityTest, MessagesNameTheMatrix) {
  SensitivityOptions options;
  options.settings = {{&kExploding, {}}};
  EXPECT_THAT(message_of([&] { measure_tiny(options); }, ErrorCode::kNumeric),
              HasSubstr("logits with blk.0.attn_q quantised by method exploding: found NaN"));
  options.wanted = [](const arch::TensorId& id, std::size_t) { return id.layer == 1; };
  EXPECT_THAT(message_of([&] { measure_tiny(options); }, ErrorCode::kNumeric),
              HasSubstr("tiny.gguf: blk.1.attn_q: weight [0, 0]: found too much"));
}

}  // namespace
}  // namespace onebit::quant
