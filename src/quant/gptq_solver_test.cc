// GPTQ of single matrices against tools/golden/make_gptq.py, code by code.
#include "quant/gptq_solver.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/test_paths.h"
#include "file/safetensors.h"
#include "nn/test_golden.h"

namespace onebit::quant {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using torch::Tensor;

/// H = 2/n Σ x xᵀ, n sequences.
Tensor second_moment(const Tensor& x) {
  const Tensor rows = x.to(torch::kFloat64).reshape({-1, x.size(-1)});
  return rows.t().matmul(rows) * (2.0 / static_cast<double>(x.size(0)));
}

GptqOptions options_of(const Json& settings) {
  GptqOptions options;
  options.grid = {settings.at("bits").get<int>(), settings.value("symmetric", false),
                  formats::DType::kF64};
  options.group_size = settings.value("group", 0);
  options.block = settings.value("block", 128);
  options.damping = settings.value("percdamp", 0.01);
  options.act_order = settings.value("act_order", false);
  options.static_groups = settings.value("static", false);
  return options;
}

arch::CodeValues run(const Tensor& w, const Tensor& h, const GptqOptions& options, int threads) {
  const Tensor values = w.to(torch::kFloat32).contiguous();
  ThreadPool pool(threads);
  return gptq({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}, w.size(0),
              w.size(1), h, options, pool);
}

/// Codes by column, whatever order they are stored in.
Tensor by_column(const arch::CodeValues& values, std::int64_t out, std::int64_t in) {
  const Tensor codes =
      torch::tensor(at::ArrayRef<std::uint8_t>(values.codes)).view({out, in}).to(torch::kInt32);
  if (values.order.empty()) return codes;
  const Tensor order = torch::tensor(at::ArrayRef<std::int32_t>(values.order)).to(torch::kInt64);
  return torch::zeros_like(codes).index_copy(1, order, codes);
}

void expect_reference(const char* file) {
  const std::filesystem::path path = testing::golden(std::string("rivals/") + file);
  const testing::GoldenTensors golden(path);
  const Json cases = Json::parse(file::SafetensorsFile::open(path).metadata().at("cases"));
  ASSERT_GT(cases.size(), 3U);
  for (const auto& [name, settings] : cases.items()) {
    SCOPED_TRACE(name);
    const Tensor w = golden.get("W");
    const Tensor x = golden.get(name.starts_with("dead") ? "dead/x" : "x");
    const GptqOptions options = options_of(settings);
    const arch::CodeValues found = run(w, second_moment(x), options, 2);
    EXPECT_EQ(run(w, second_moment(x), options, 1).codes, found.codes);
    const Tensor codes = golden.get(name + "/codes");
    EXPECT_TRUE(by_column(found, w.size(0), w.size(1)).equal(codes));
    const Tensor scale = golden.get(name + "/scale");
    EXPECT_TRUE(torch::tensor(at::ArrayRef<float>(found.scale))
                    .view(scale.sizes())
                    .to(torch::kFloat64)
                    .allclose(scale, 1e-6, 0));
    if (settings.value("symmetric", false)) {
      EXPECT_TRUE(found.zero.empty());
    } else {
      const Tensor zero = golden.get(name + "/zero");
      EXPECT_TRUE(torch::tensor(at::ArrayRef<float>(found.zero))
                      .view(zero.sizes())
                      .to(torch::kFloat64)
                      .equal(zero));
    }
    // What is stored stands for what the reference's numbers stand for.
    arch::CodeSpec spec;
    spec.bits = options.grid.bits;
    spec.groups = std::ssize(found.ends);
    std::vector<float> weights(found.codes.size());
    arch::dequantize(spec, found, weights);
    const Tensor group_of = golden.get(name + "/group_of").to(torch::kInt64);
    const Tensor expected = scale.index_select(1, group_of) *
                            (codes - golden.get(name + "/zero").index_select(1, group_of));
    const Tensor difference =
        torch::tensor(at::ArrayRef<float>(weights)).view(w.sizes()).to(torch::kFloat64) - expected;
    EXPECT_LE(difference.abs().max().item<double>(), 0x1p-22 * expected.abs().max().item<double>());
  }
}

TEST(Gptq, IsTheReferencesCodeByCode) { expect_reference("gptq.safetensors"); }
TEST(Gptq, OfWideMatricesToo) { expect_reference("gptq_wide.safetensors"); }

// Two layers, the second calibrated with what the quantised first gives.
TEST(Gptq, ASecondLayerSeesTheFirstAsQuantised) {
  const testing::GoldenTensors golden(testing::golden("rivals/gptq_pipeline.safetensors"));
  GptqOptions options;
  options.grid = {3, false, formats::DType::kF64};
  options.group_size = 16;
  options.act_order = options.static_groups = true;
  const Tensor x = golden.get("x").to(torch::kFloat64);
  const Tensor w1 = golden.get("W1");
  const arch::CodeValues first = run(w1, second_moment(x), options, 2);
  EXPECT_TRUE(by_column(first, w1.size(0), w1.size(1)).equal(golden.get("first/codes")));
  arch::CodeSpec spec;
  spec.bits = 3;
  spec.groups = std::ssize(first.ends);
  std::vector<float> weights(first.codes.size());
  arch::dequantize(spec, first, weights);
  const Tensor quantised =
      torch::tensor(at::ArrayRef<float>(weights)).view(w1.sizes()).to(torch::kFloat64);
  const Tensor hidden = torch::silu(x.matmul(quantised.t()));
  const Tensor w2 = golden.get("W2");
  const arch::CodeValues second = run(w2, second_moment(hidden), options, 2);
  EXPECT_TRUE(by_column(second, w2.size(0), w2.size(1)).equal(golden.get("sequential/codes")));
}

TEST(Gptq, StopsBetweenBlocks) {
  const Tensor w = torch::rand({3, 7});
  std::stop_source stop;
  stop.request_stop();
  ThreadPool pool(1);
  EXPECT_THROW(gptq({w.data_ptr<float>(), 21}, 3, 7, torch::eye(7, torch::kFloat64), {}, pool,
                    stop.get_token()),
               Error);
}

TEST(Gptq, ASingularSecondMomentIsAnError) {
  GptqOptions options;
  options.damping = 0;
  const Tensor x = torch::ones({2, 3, 8});  // of rank 1
  EXPECT_THAT(
      [&] {
        run(torch::rand({4, 8}), second_moment(x), options, 1);
      },
      ::testing::ThrowsMessage<Error>(
          HasSubstr("not positive definite with damping 0, expected more calibration")));
  options.damping = 0.01;
  EXPECT_NO_THROW(run(torch::rand({4, 8}), second_moment(x), options, 1));
}

}  // namespace
}  // namespace onebit::quant
