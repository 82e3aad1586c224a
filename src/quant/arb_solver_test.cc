// ARB-LLM's refinements of masks and of whole matrices against tools/golden/make_arb.py.
#include "quant/arb_solver.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/test_paths.h"
#include "file/safetensors.h"
#include "nn/test_golden.h"

namespace onebit::quant {
namespace {

using Json = nlohmann::json;
using torch::Tensor;

double largest(const Tensor& t) { return t.abs().max().item<double>(); }

/// Golden signs are 0 where they do not matter.
void expect_signs(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(((found != expected) & (expected != 0)).sum().item<int>(), 0);
}

/// 2/n Σ x xᵀ over sequences [n, tokens, in].
Tensor moment_of(const Tensor& x) {
  const Tensor rows = x.to(torch::kFloat64).reshape({-1, x.size(-1)});
  return rows.t().matmul(rows) * (2.0 / static_cast<double>(x.size(0)));
}

class ArbMasks : public ::testing::Test {
 protected:
  Tensor mask(const std::string& which) const {
    const Tensor part = golden_.get("mask") != 0;
    return which == "all" ? torch::ones_like(part) : part;
  }

  void compare(const RefinedTerms& found, const Tensor& mask, const std::string& at) const {
    expect_signs(found.sign, golden_.get(at + "sign"));
    EXPECT_LE(largest(found.value(mask) - golden_.get(at + "weight")), 1e-12);
    if (golden_.has(at + "row_scale")) {
      EXPECT_LE(largest(found.scale - golden_.get(at + "row_scale")), 1e-12);
      EXPECT_LE(largest(found.column_scale - golden_.get(at + "column_scale")), 1e-9);
    } else {
      EXPECT_LE(largest(found.mean - golden_.get(at + "mean")), 1e-12);
      EXPECT_LE(largest(found.scale - golden_.get(at + "scale")), 1e-12);
    }
  }

  testing::GoldenTensors golden_{testing::golden("rivals/arb.safetensors")};
  Tensor w_ = golden_.get("W").to(torch::kFloat64);
};

TEST_F(ArbMasks, EveryIterationIsTheReferences) {
  for (const auto& [method, kind] :
       {std::pair{"arb", Refinement::kPlain}, std::pair{"arb_x", Refinement::kPlain},
        std::pair{"arb_rc", Refinement::kRowsColumns}}) {
    for (const int order : {1, 2}) {
      for (const char* which : {"all", "part"}) {
        const std::string at =
            std::string(method) + "/" + std::to_string(order) + "/" + which + "/";
        SCOPED_TRACE(at);
        const Tensor part = mask(which);
        const Tensor errors = golden_.get(at + "errors");
        ASSERT_EQ(errors.size(0), kRefineIterations + 1);
        for (int i = 0; i <= kRefineIterations; ++i) {
          const Tensor left = (w_ - refine(kind, w_, part, order, i).value(part)) * part;
          const double error = (left.square().sum() / (w_ * part).square().sum()).item<double>();
          EXPECT_NEAR(error, errors[i].item<double>(), 1e-12) << i;
        }
        if (!golden_.has(at + "x_errors")) compare(refine(kind, w_, part, order), part, at);
      }
    }
  }
}

TEST_F(ArbMasks, InputsAreFittedAsInTheReference) {
  const Tensor s = moment_of(golden_.get("x"));
  for (const int order : {1, 2}) {
    for (const char* which : {"all", "part"}) {
      const std::string at = "arb_x/" + std::to_string(order) + "/" + which + "/";
      SCOPED_TRACE(at);
      const Tensor part = mask(which);
      const Tensor w = w_ * part;
      const Tensor errors = golden_.get(at + "x_errors");
      for (int i = 0; i <= kRefineIterations; ++i) {
        RefinedTerms terms = refine(Refinement::kPlain, w_, part, order);
        fit_to_inputs(terms, w_, part, s, i);
        const Tensor d = w - terms.value(part);
        const double error = ((d.matmul(s) * d).sum() / (w.matmul(s) * w).sum()).item<double>();
        EXPECT_NEAR(error, errors[i].item<double>(), 1e-12) << i;
        if (i == kRefineIterations) compare(terms, part, at);
      }
    }
  }
}

TEST(Arb, LayersAreTheReferences) {
  const std::filesystem::path path = testing::golden("rivals/arb_layers.safetensors");
  const testing::GoldenTensors golden(path);
  const Json cases = Json::parse(file::SafetensorsFile::open(path).metadata().at("cases"));
  int compared = 0;
  for (const auto& [name, settings] : cases.items()) {
    if (settings.at("cgb") || settings.at("metric") != "hessian") continue;
    SCOPED_TRACE(name);
    ++compared;
    const std::string of = name.find("wide") != std::string::npos ? "wide/" : "";
    const bool dead = name.find("dead") != std::string::npos;
    const Tensor w = golden.get(of + "W").contiguous();
    const Tensor x = golden.get(dead ? "dead/x" : of + "x").to(torch::kFloat64);
    const std::string method = settings.at("method");
    ArbOptions options;
    options.refinement = method == "arb_rc"  ? Refinement::kRowsColumns
                         : method == "arb_x" ? Refinement::kInputs
                                             : Refinement::kPlain;
    options.block = settings.at("block");
    options.scales = formats::DType::kF64;
    const ArbResult found = arb({w.data_ptr<float>(), static_cast<std::size_t>(w.numel())},
                                w.size(0), w.size(1), moment_of(x), options);
    const Tensor expected = golden.get(name + "/weight");
    EXPECT_LE(largest(found.weights - expected), 1e-9);
    const Tensor full = w.to(torch::kFloat64);
    const Tensor left = full - found.weights;
    const Tensor rows = x.reshape({-1, x.size(-1)});
    const auto share = [](const Tensor& a, const Tensor& b) {
      return (a.square().sum() / b.square().sum()).item<double>();
    };
    // The reference's norm of the weights is a sum in f32.
    EXPECT_NEAR(share(left, full) / golden.get(name + "/error")[0].item<double>(), 1, 0x1p-23);
    EXPECT_NEAR(share(rows.matmul(left.t()), rows.matmul(full.t())),
                golden.get(name + "/error")[1].item<double>(), 1e-9);

    // What is stored stands for that, in f32; its bits are the reference's groups and signs.
    const arch::CodeSpec spec = arb_spec(w.size(1), options);
    const arch::CodeValues& values = found.values;
    ASSERT_EQ(std::ssize(values.ends), spec.groups);
    std::vector<float> weights(values.codes.size());
    arch::dequantize(spec, values, weights);
    EXPECT_LE(largest(torch::tensor(at::ArrayRef<float>(weights)).view(w.sizes()) - expected),
              0x1p-21 * largest(expected));
    const Tensor codes =
        torch::tensor(at::ArrayRef<std::uint8_t>(values.codes)).view(w.sizes()).to(torch::kInt64);
    const Tensor order = torch::tensor(at::ArrayRef<std::int32_t>(values.order)).to(torch::kInt64);
    const Tensor group = golden.get(name + "/group").index_select(1, order);
    const Tensor sign = golden.get(name + "/sign").index_select(2, order);
    std::int64_t begin = 0;
    for (std::size_t s = 0; s < values.ends.size(); ++s) {
      const std::int64_t count = values.ends[s] - begin;
      const Tensor code = codes.narrow(1, begin, count);
      const Tensor low = code % 2 * 2 - 1;
      const Tensor high = code.div(2, "floor");
      const Tensor signs = sign.narrow(2, begin, count);
      expect_signs(low, signs[0]);
      if (s % 2 == 0) expect_signs(high * 2 - 1, signs[1]);
      EXPECT_TRUE(torch::equal(group.narrow(1, begin, count).to(torch::kInt64),
                               s % 2 == 0 ? torch::zeros_like(code) : 3 - high));
      begin = values.ends[s];
    }
  }
  EXPECT_EQ(compared, 7);
}

/// Whatever a type of scales rounds away, later blocks make up for what is stored.
TEST(Arb, StoredIsWhatWasCompensated) {
  const Tensor w = torch::rand({3, 17}) - 0.4;
  const Tensor x = torch::rand({100, 17}, torch::kFloat64);
  for (const Refinement kind :
       {Refinement::kRowsColumns, Refinement::kPlain, Refinement::kInputs}) {
    for (const std::int64_t block : {1, 16, 128}) {
      const ArbOptions options = {.refinement = kind, .block = block};
      const ArbResult found = arb({w.data_ptr<float>(), 51}, 3, 17, x.t().matmul(x), options);
      std::vector<float> weights(51);
      arch::dequantize(arb_spec(17, options), found.values, weights);
      const Tensor stored = torch::tensor(at::ArrayRef<float>(weights)).view({3, 17});
      // Scales of f16 are exact in f32; two products and their sum are rounded.
      EXPECT_LE(largest(stored - found.weights), 0x1p-22 * largest(found.weights));
      EXPECT_EQ(std::ssize(found.values.ends), arb_spec(17, options).groups);
    }
  }
}

// Infinite, or all of them 0, and the matrix with them.
TEST(Arb, ScalesBeyondTheirTypeAreNamed) {
  const Tensor x = torch::rand({100, 17}, torch::kFloat64);
  for (const double magnitude : {1e6, 1e-9}) {
    const Tensor w = magnitude * (torch::rand({3, 17}) + 0.5);
    for (const Refinement kind :
         {Refinement::kRowsColumns, Refinement::kPlain, Refinement::kInputs}) {
      const auto run = [&](formats::DType scales) {
        return arb({w.data_ptr<float>(), 51}, 3, 17, x.t().matmul(x),
                   {.refinement = kind, .block = 8, .scales = scales});
      };
      EXPECT_THAT([&] { run(formats::DType::kF16); },
                  ::testing::ThrowsMessage<Error>(::testing::HasSubstr("that f16 can hold")));
      EXPECT_LT(largest(run(formats::DType::kF32).weights - w), 0.5 * largest(w));
    }
  }
}

TEST(Arb, StopsBetweenBlocks) {
  const Tensor w = torch::rand({3, 17});
  const Tensor x = torch::rand({100, 17}, torch::kFloat64);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(
      [&] {
        arb({w.data_ptr<float>(), 51}, 3, 17, x.t().matmul(x), {}, stop.get_token());
      },
      ::testing::ThrowsMessage<Error>("interrupted"));
}

}  // namespace
}  // namespace onebit::quant
