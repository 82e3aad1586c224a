// rtn, int8, f16 and bf16 against tools/golden/make_rtn.py and make_plain_types.py, in what a file
// of each makes of a matrix.
#include <cmath>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <limits>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/half.h"
#include "base/test_paths.h"
#include "nn/test_golden.h"
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

std::vector<float> floats(const Tensor& t) {
  const Tensor f = t.to(torch::kFloat32).contiguous();
  return {f.data_ptr<float>(), f.data_ptr<float>() + f.numel()};
}

class PlainMethods : public ::testing::Test {
 protected:
  PlainMethods() {
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 5), dir_ / "m.gguf");
  }

  /// What a method makes of W [out, in].
  FakeQuantized run(const char* name, const MethodOptions& options, const Tensor& w) {
    const std::vector<float> weights = floats(w);
    const arch::Checkpoint source = arch::Checkpoint::open(dir_ / "m.gguf");
    return find_method(name)
        .make(source, options, pool_)
        ->fake_quantize({arch::Role::kAttnQ, 0, w.size(0), w.size(1), weights});
  }

  testing::TempDir dir_;
  ThreadPool pool_{2};
};

/// scale · (code - zero) of a golden case, groups of 16 where there are more scales than one a row.
Tensor expected_weights(const testing::GoldenTensors& golden, const std::string& at) {
  const Tensor codes = golden.get(at + "/codes").to(torch::kFloat64);
  const auto spread = [&](const Tensor& t) {
    if (t.size(1) == 1) return t.expand_as(codes).clone();
    return t.repeat_interleave(16, 1).slice(1, 0, codes.size(1)).expand_as(codes).clone();
  };
  return spread(golden.get(at + "/scale")) * (codes - spread(golden.get(at + "/zero")));
}

TEST_F(PlainMethods, RtnIsTheReferences) {
  const testing::GoldenTensors golden(testing::golden("rivals/rtn.safetensors"));
  const Tensor w = golden.get("W");
  int compared = 0;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const bool symmetric : {true, false}) {
      for (const char* grouping : {"row", "group", "group_f16"}) {
        const std::string at =
            fmt::format("{}/{}/{}", bits, symmetric ? "symmetric" : "asymmetric", grouping);
        if (!golden.has(at + "/codes")) continue;
        SCOPED_TRACE(at);
        MethodOptions options;
        options.bits = bits;
        options.symmetric = symmetric;
        options.group_size = std::string(grouping) == "row" ? 0 : 16;
        options.scales =
            std::string(grouping) == "group_f16" ? formats::DType::kF16 : formats::DType::kF32;
        const FakeQuantized found = run("rtn", options, w);
        const Tensor expected = expected_weights(golden, at);
        const Tensor weights =
            torch::tensor(at::ArrayRef<float>(found.weights)).view(w.sizes()).to(torch::kFloat64);
        // The scale is rounded to f32, and so is the weight: another code is a whole step away.
        EXPECT_LE((weights - expected).abs().max().item<double>(),
                  0x1p-22 * expected.abs().max().item<double>());
        const auto error = golden.get(at + "/error").item<double>();
        EXPECT_NEAR(found.report.relative_error, error, 1e-5 * error);
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 34);  // 8 widths, with and without zero points, rows and groups; f16 of one
}

TEST_F(PlainMethods, Int8IsTheReferences) {
  const testing::GoldenTensors golden(testing::golden("rivals/plain_types.safetensors"));
  const Tensor w = golden.get("W");
  for (const bool affine : {true, false}) {
    for (const char* kind : {"tensor", "row", "group", "group_clip", "row_f16"}) {
      const std::string at = fmt::format("{}/{}", affine ? "affine" : "symmetric", kind);
      SCOPED_TRACE(at);
      const std::string name = kind;
      MethodOptions options;
      options.affine = affine;
      options.per_tensor = name == "tensor";
      options.group_size = name.starts_with("group") ? 16 : 0;
      options.clip = name == "group_clip" ? 0.8 : 1;
      options.scales = name == "row_f16" ? formats::DType::kF16 : formats::DType::kF32;
      const FakeQuantized found = run("int8", options, w);
      const Tensor expected = golden.get(at + "/weight");
      const Tensor weights =
          torch::tensor(at::ArrayRef<float>(found.weights)).view(w.sizes()).to(torch::kFloat64);
      // By rows: one of them is a billionth of the others.
      const Tensor error = (weights - expected).abs().amax(1);
      EXPECT_TRUE((error <= 0x1p-22 * expected.abs().amax(1)).all().item<bool>());
    }
  }
}

TEST_F(PlainMethods, TypesRoundAsTheReferencesDo) {
  const testing::GoldenTensors golden(testing::golden("rivals/plain_types.safetensors"));
  const std::vector<float> values = floats(golden.get("values"));
  const Tensor f16 = golden.get("f16/ieee");
  const Tensor bf16 = golden.get("bf16/ieee");
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    EXPECT_EQ(f32_to_f16(values[i]), f16[at].item<int>()) << values[i];
    EXPECT_EQ(f32_to_bf16(values[i]), bf16[at].item<int>()) << values[i];
  }
}

TEST_F(PlainMethods, WhatATypeCannotHoldIsNamed) {
  const auto message = [&](const char* method, float value) -> std::string {
    Tensor w = torch::ones({3, 4});
    w[1][2] = value;
    MethodOptions options;
    options.bits = find_method(method).bits.front();
    try {
      run(method, options, w);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNumeric);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message("f16", 65519.0F), "no error");
  EXPECT_EQ(message("f16", 65520.0F), "element 6: found 65520, expected a value that f16 holds");
  EXPECT_EQ(message("bf16", 65520.0F), "no error");
  EXPECT_THAT(message("bf16", std::numeric_limits<float>::max()), HasSubstr("bf16 holds"));
  for (const char* method : {"rtn", "int8", "f16", "bf16"}) {
    EXPECT_THAT(message(method, std::numeric_limits<float>::quiet_NaN()),
                HasSubstr("weight [1, 2]: found nan, expected a finite number"));
  }
}

TEST_F(PlainMethods, ScalesThatAFileCannotHoldAreRefused) {
  const auto message = [&](const char* method, float value, formats::DType scales) -> std::string {
    MethodOptions options;
    options.bits = 8;
    options.scales = scales;
    try {
      run(method, options, torch::full({3, 4}, value));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNumeric);
      return error.what();
    }
    return "no error";
  };
  for (const char* method : {"rtn", "int8"}) {
    SCOPED_TRACE(method);
    EXPECT_EQ(message(method, 8e6F, formats::DType::kF16), "no error");
    EXPECT_EQ(message(method, 2e7F, formats::DType::kF16),
              "scales: found one of 65504 or more, expected less, which f16 holds; choose f32 "
              "(--scales)");
    EXPECT_EQ(message(method, 2e7F, formats::DType::kF32), "no error");
    EXPECT_EQ(message(method, 0, formats::DType::kF16), "no error");
    EXPECT_THAT(message(method, 1e-4F, formats::DType::kF16),
                HasSubstr("as the largest scale, expected at least 2^-14"));
    EXPECT_EQ(message(method, 1e-4F, formats::DType::kF32), "no error");
  }
}

TEST_F(PlainMethods, OptionsThatContradictAreRefused) {
  MethodOptions options;
  options.per_tensor = true;
  options.group_size = 32;
  EXPECT_THAT(
      [&] {
        run("int8", options, torch::ones({3, 4}));
      },
      ::testing::ThrowsMessage<Error>(HasSubstr("--per-tensor: found groups of 32")));
}

// f16 scales that would vanish or overflow stay the nearest numbers that do not.
TEST(StoredScale, StaysFiniteAndNotZero) {
  EXPECT_EQ(stored_scale(1e-12, formats::DType::kF16), 0x1p-24);
  EXPECT_EQ(stored_scale(1e9, formats::DType::kF16), 65504);
  EXPECT_EQ(stored_scale(0, formats::DType::kF16), 0);
  EXPECT_EQ(stored_scale(0.1, formats::DType::kF16), f16_to_f32(f32_to_f16(0.1F)));
  EXPECT_EQ(stored_scale(1e-12, formats::DType::kF32), 1e-12F);
  EXPECT_EQ(stored_scale(1e-46, formats::DType::kF32), 0x1p-149);
  EXPECT_EQ(stored_scale(1e39, formats::DType::kF32), std::numeric_limits<float>::max());
}

}  // namespace
}  // namespace onebit::quant
