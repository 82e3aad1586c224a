// Inputs of matrices as calibration finds them, against a whole model that keeps its states.
#include "quant/calibration.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <map>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "nn/load.h"
#include "quant/fake_linear.h"
#include "quant/quantize_model.h"

namespace onebit::quant {
namespace {

using arch::Role;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using torch::Tensor;

constexpr std::int64_t kWindow = 12;
constexpr Role kMatrices[] = {Role::kAttnQ,   Role::kAttnK, Role::kAttnV,  Role::kAttnOut,
                              Role::kFfnGate, Role::kFfnUp, Role::kFfnDown};

/// Remembers what it reads.
class Recorder final : public nn::Linear {
 public:
  Recorder(std::unique_ptr<nn::Linear> inner, Tensor& rows)
      : inner_(std::move(inner)), rows_(rows) {}
  Tensor forward(const Tensor& x) override {
    rows_ = x.reshape({-1, x.size(-1)}).to(torch::kFloat64);
    return inner_->forward(x);
  }
  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

 private:
  std::unique_ptr<nn::Linear> inner_;
  Tensor& rows_;
};

class CalibrationOfATinyModel : public ::testing::Test {
 protected:
  CalibrationOfATinyModel() {
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 5), dir_ / "m.gguf");
    Rng rng(3);
    for (int i = 0; i < 5 * kWindow; ++i) {
      tokens_.push_back(static_cast<text::TokenId>(rng.below(37)));
    }
  }

  arch::Checkpoint source() const { return arch::Checkpoint::open(dir_ / "m.gguf"); }
  TokenWindows windows() const { return {tokens_, kWindow}; }

  /// Weights that differ from the model's.
  FakeQuantized other(const arch::Checkpoint& source, Role role, std::int64_t layer) const {
    const formats::Shape shape =
        arch::shape_of(source.config(), *arch::find_tensor(*source.config().arch, role));
    FakeQuantized fake;
    fake.report.shape = shape;
    fake.weights.resize(static_cast<std::size_t>(shape[0] * shape[1]));
    source.read_f32(role, layer, fake.weights);
    for (float& w : fake.weights) w *= w < 0 ? 0.5F : 1.25F;
    return fake;
  }

  testing::TempDir dir_;
  std::vector<text::TokenId> tokens_;
};

/// The reference: all inputs of a model in which the matrices of `replaced` are other().
std::map<arch::TensorId, Tensor> inputs_of(nn::DecoderModel& model, const Tensor& tokens) {
  std::map<arch::TensorId, Tensor> inputs;
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer) {
    for (const Role role : kMatrices) {
      auto inner = std::make_unique<nn::DenseLinear>(torch::empty({1, 1}));
      auto recorder = std::make_unique<Recorder>(model.exchange(role, layer, std::move(inner)),
                                                 inputs[{role, layer}]);
      model.exchange(role, layer, std::move(recorder));
    }
  }
  model.forward(tokens, {});
  return inputs;
}

TEST_F(CalibrationOfATinyModel, MomentsAreThoseOfTheModelAsQuantisedSoFar) {
  const torch::NoGradGuard no_grad;
  const arch::Checkpoint checkpoint = source();
  const Tensor tokens =
      torch::tensor(at::ArrayRef<text::TokenId>(tokens_), torch::kInt64).view({-1, kWindow});
  Calibration calibration(checkpoint, windows(), dir_ / "", {});
  std::vector<arch::TensorId> replaced;
  for (std::int64_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    calibration.begin_block(layer);
    for (const Role role : kMatrices) {
      const Tensor found = calibration.second_moment(role);
      const auto model = nn::load_dense(checkpoint, torch::kFloat32);
      for (const arch::TensorId& id : replaced) {
        model->exchange(
            id.role, id.layer,
            std::make_unique<FakeLinear>(other(checkpoint, id.role, id.layer), torch::kFloat32));
      }
      const Tensor rows = inputs_of(*model, tokens).at({role, layer});
      const Tensor expected = rows.t().matmul(rows) * (2.0 / 5);
      EXPECT_LE((found - expected).abs().max().item<double>(),
                1e-5 * expected.abs().max().item<double>())
          << static_cast<int>(role) << " of layer " << layer;
      calibration.replace(role, other(checkpoint, role, layer));
      replaced.push_back({role, layer});
    }
    calibration.end_block();
  }
}

// What a block should give is the full-precision model's state, what it reads the quantised one's.
TEST_F(CalibrationOfATinyModel, TargetsAreThoseOfTheFullModel) {
  const torch::NoGradGuard no_grad;
  const arch::Checkpoint checkpoint = source();
  const Tensor tokens =
      torch::tensor(at::ArrayRef<text::TokenId>(tokens_), torch::kInt64).view({-1, kWindow});
  const auto full = nn::load_dense(checkpoint, torch::kFloat32);
  const auto mixed = nn::load_dense(checkpoint, torch::kFloat32);
  Calibration calibration(checkpoint, windows(), dir_ / "", {}, /*with_targets=*/true);
  EXPECT_EQ(calibration.windows(), 5);
  for (std::int64_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    calibration.begin_block(layer);
    EXPECT_EQ(calibration.layer(), layer);
    calibration.make_targets();
    const auto states = full->forward(tokens, {.keep_states = true}).states;
    const auto found = mixed->forward(tokens, {.keep_states = true}).states;
    const auto index = static_cast<std::size_t>(layer);
    EXPECT_TRUE(calibration.targets(2, 3).allclose(states[index + 1].narrow(0, 2, 3), 1e-5, 1e-6));
    EXPECT_TRUE(calibration.inputs(2, 3).allclose(found[index].narrow(0, 2, 3), 1e-5, 1e-6));
    calibration.replace(Role::kFfnUp, other(checkpoint, Role::kFfnUp, layer));
    mixed->exchange(
        Role::kFfnUp, layer,
        std::make_unique<FakeLinear>(other(checkpoint, Role::kFfnUp, layer), torch::kFloat32));
    // A norm that the block's method has changed is the norm that later blocks see.
    const Tensor norm = mixed->norm(Role::kAttnNorm, layer) * 1.5;
    calibration.block().set_norm(Role::kAttnNorm, layer, norm);
    mixed->set_norm(Role::kAttnNorm, layer, norm);
    calibration.end_block();
  }
}

TEST_F(CalibrationOfATinyModel, AnInterruptStopsIt) {
  const arch::Checkpoint checkpoint = source();
  std::stop_source stop;
  Calibration calibration(checkpoint, windows(), dir_ / "", stop.get_token());
  calibration.begin_block(0);
  stop.request_stop();
  EXPECT_THAT([&] { calibration.second_moment(Role::kAttnQ); },
              ThrowsMessage<Error>(HasSubstr("interrupted")));
  EXPECT_THAT([&] { calibration.inputs(0, 1); }, ThrowsMessage<Error>(HasSubstr("interrupted")));
}

TEST_F(CalibrationOfATinyModel, GptqOfAModelIsWrittenAndBetterThanRounding) {
  const arch::Checkpoint checkpoint = source();
  NoProgress progress;
  QuantizeOptions options;
  options.embedding = options.head = formats::DType::kF16;
  options.method = &find_method("gptq");
  options.method_options.bits = 2;
  const auto write = [&] {
    std::filesystem::remove(dir_ / "q.gguf");
    quantize_model(checkpoint, dir_ / "q.gguf", options, [](const auto&) {}, progress, {});
  };
  const auto error = [&] {
    write();
    const auto model = nn::load_dense(arch::Checkpoint::open(dir_ / "q.gguf"), torch::kFloat32);
    const Tensor tokens =
        torch::tensor(at::ArrayRef<text::TokenId>(tokens_), torch::kInt64).view({-1, kWindow});
    const torch::NoGradGuard no_grad;
    const Tensor full = nn::load_dense(checkpoint, torch::kFloat32)->forward(tokens, {}).hidden;
    return (model->forward(tokens, {}).hidden - full).square().mean().item<double>();
  };
  EXPECT_THAT(write, ThrowsMessage<Error>(HasSubstr("method gptq: found no calibration text")));
  options.calibration = windows();
  const double compensated = error();
  // Matrices by other methods are calibrated around, and the paper's LayerNorm is among them.
  options.overrides = {{"*.ffn_up", &find_method("onebit"), {}}};
  options.overrides[0].options.form = arch::Form::kPaper;
  EXPECT_NO_THROW(write());
  options.overrides.clear();
  options.method = &find_method("rtn");
  EXPECT_LT(compensated, error());
}

/// What calibration went on with, and reports, is what a file's reader gets.
TEST_F(CalibrationOfATinyModel, FilesHoldTheMatricesThatWereMeasured) {
  const arch::Checkpoint checkpoint = source();
  NoProgress progress;
  for (const auto& [name, refinement] :
       {std::pair{"gptq", Refinement::kPlain}, std::pair{"billm", Refinement::kPlain},
        std::pair{"arb", Refinement::kPlain}, std::pair{"arb", Refinement::kInputs},
        std::pair{"arb", Refinement::kRowsColumns}}) {
    SCOPED_TRACE(std::string(name) + " " + std::string(word_of(refinement)));
    QuantizeOptions options;
    options.embedding = options.head = formats::DType::kF16;
    options.method = &find_method(name);
    options.method_options.bits = options.method->bits.front();
    options.method_options.group_size = 40;  // two blocks of each matrix
    options.method_options.refinement = refinement;
    options.calibration = windows();
    std::map<std::string, MatrixReport> reports;
    std::filesystem::remove(dir_ / "q.gguf");
    quantize_model(checkpoint, dir_ / "q.gguf", options,
                   [&](const MatrixReport& report) { reports[report.name] = report; }, progress,
                   {});
    const arch::Checkpoint found = arch::Checkpoint::open(dir_ / "q.gguf");
    EXPECT_EQ(reports.size(), 14U);
    for (const auto& [matrix, report] : reports) {
      const auto layer = static_cast<std::int64_t>(matrix[4] - '0');
      const auto role =
          std::find_if(std::begin(kMatrices), std::end(kMatrices), [&, &matrix = matrix](Role r) {
            return matrix ==
                   arch::gguf_name(*arch::find_tensor(*checkpoint.config().arch, r), layer);
          });
      ASSERT_NE(role, std::end(kMatrices));
      const auto count = static_cast<std::size_t>(report.shape[0] * report.shape[1]);
      std::vector<float> full(count);
      std::vector<float> stored(count);
      checkpoint.read_f32(*role, layer, full);
      found.read_f32(*role, layer, stored);
      double error = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const double difference = static_cast<double>(full[i]) - stored[i];
        error += difference * difference;
      }
      EXPECT_DOUBLE_EQ(error, report.square_error) << matrix;
    }
  }
}

TEST_F(CalibrationOfATinyModel, PatternsMustMatchAndFoldedScalesStayTogether) {
  const arch::Checkpoint checkpoint = source();
  NoProgress progress;
  QuantizeOptions options;
  options.embedding = options.head = formats::DType::kF16;
  options.method = &find_method("onebit");
  options.overrides = {{"*.ffn_up", &find_method("int8"), {}},
                       {"blk.7.*", &find_method("int8"), {}}};
  const auto run = [&] {
    quantize_model(checkpoint, dir_ / "q.gguf", options, [](const auto&) {}, progress, {});
  };
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("no matrix of")));
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("named 'blk.7.*'")));
  options.overrides.pop_back();
  options.method_options.form = arch::Form::kFoldable;
  EXPECT_THAT(run, ThrowsMessage<Error>(HasSubstr("whose scales matrices share")));
  options.method_options.form = arch::Form::kFree;
  EXPECT_NO_THROW(run());
  const arch::Checkpoint found = arch::Checkpoint::open(dir_ / "q.gguf");
  EXPECT_TRUE(found.codes(Role::kFfnUp, 1).has_value());
  EXPECT_TRUE(found.one_bit(Role::kFfnDown, 1).has_value());
}

}  // namespace
}  // namespace onebit::quant
