// How methods are named, and that what they say of a matrix is what they store.
#include "quant/method.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "nn/load.h"
#include "quant/fake_linear.h"
#include "quant/quantize_model.h"

namespace onebit::quant {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

TEST(ParseMethod, NamesAndBits) {
  for (const char* word : {"onebit", "onebit:1"}) {
    const MethodChoice choice = parse_method(word);
    EXPECT_EQ(choice.method, &find_method("onebit"));
    EXPECT_EQ(choice.bits, 1);
  }
}

TEST(ParseMethod, EveryMethodHasBits) {
  for (const Method* method : all_methods()) {
    ASSERT_FALSE(method->bits.empty()) << method->name;
    EXPECT_EQ(parse_method(method->name).bits, method->bits.front());
  }
}

TEST(ParseMethod, WhatThereIsNot) {
  const auto message = [](const char* word) -> std::string {
    try {
      parse_method(word);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message("twobit"), HasSubstr("found method 'twobit', expected one of onebit"));
  EXPECT_THAT(message(""), HasSubstr("found method ''"));
  EXPECT_EQ(message("onebit:2"), "bits of method onebit: found '2', expected 1");
  EXPECT_EQ(message("onebit:"), "bits of method onebit: found '', expected 1");
  EXPECT_EQ(message("onebit:1x"), "bits of method onebit: found '1x', expected 1");
}

// With every matrix replaced by what fake_quantize() says of it, the full-precision model is the
// packed one: in every form, partial groups of inputs and tied input scales included.
TEST(FakeQuantize, IsWhatAFileMakesOfTheModel) {
  const testing::TempDir dir;
  arch::test_models::write_gguf(
      arch::test_models::random_model(arch::test_models::tiny_config(), 5), dir / "full.gguf");
  const arch::Checkpoint source = arch::Checkpoint::open(dir / "full.gguf");
  const torch::NoGradGuard no_grad;
  const Tensor tokens = torch::tensor({{1, 5, 9, 20, 36, 0, 7}}, torch::kInt64);
  ThreadPool pool(2);
  for (const arch::test_models::FormCase& form : arch::test_models::kForms) {
    SCOPED_TRACE(form.name);
    QuantizeOptions options;
    options.method = &find_method("onebit");
    options.method_options.form = form.form;
    options.method_options.group_size = form.group_size;
    // f16 would round a scale once with and once without what folds into it.
    options.method_options.scales =
        form.form == arch::Form::kFoldable ? formats::DType::kF32 : formats::DType::kF16;
    options.embedding = options.head = formats::DType::kF32;
    NoProgress progress;
    std::filesystem::remove(dir / "packed.gguf");
    std::vector<MatrixReport> reports;
    quantize_model(source, dir / "packed.gguf", options,
                   [&](const MatrixReport& report) { reports.push_back(report); }, progress, {});
    const auto packed = nn::load_packed(arch::Checkpoint::open(dir / "packed.gguf"),
                                        torch::kFloat64, nn::SignGradient::kTanh, nn::kLatentScale);

    const auto model = nn::load_dense(source, torch::kFloat64);
    const auto quantizer = options.method->make(source, options.method_options, pool);
    auto report = reports.begin();
    std::int64_t layer = -1;
    for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
      const arch::TensorSpec& spec = *arch::find_tensor(*source.config().arch, id.role);
      if (!spec.linear) continue;
      if (id.layer != layer) quantizer->begin_layer(layer = id.layer);
      const formats::Shape shape = arch::shape_of(source.config(), spec);
      std::vector<float> weights(static_cast<std::size_t>(shape[0] * shape[1]));
      source.read_f32(id.role, id.layer, weights);
      const FakeQuantized found =
          quantizer->fake_quantize({id.role, id.layer, shape[0], shape[1], weights});
      EXPECT_EQ(found.report.shape, report->shape);
      EXPECT_EQ(found.report.stored_bytes, report->stored_bytes);
      EXPECT_EQ(found.report.relative_error, report->relative_error);
      ++report;
      double error = 0;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double difference = static_cast<double>(weights[i]) - found.weights[i];
        error += difference * difference;
      }
      // What f16 does to the scales counts squared at the minimum of the error.
      EXPECT_NEAR(error / found.report.square_norm, found.report.relative_error, 0x1p-20);
      EXPECT_EQ(found.output_norm, form.form == arch::Form::kPaper);
      model->exchange(id.role, id.layer, std::make_unique<FakeLinear>(found, torch::kFloat64));
    }
    const Tensor expected = packed->forward(tokens, {}).hidden;
    const Tensor found = model->forward(tokens, {}).hidden;
    // Each weight is a product rounded to f32, and in a file what is folded is one, too.
    EXPECT_LE((found - expected).abs().max().item<double>(),
              1e-5 * expected.abs().max().item<double>());
  }
}

}  // namespace
}  // namespace onebit::quant
