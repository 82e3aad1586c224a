// The choice of an instruction set: what runs is what was asked for, or an error says why not.
#include "kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/verify.h"

namespace onebit::kernels {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::string> names(const std::vector<const KernelSet*>& sets) {
  std::vector<std::string> result;
  result.reserve(sets.size());
  for (const KernelSet* set : sets) result.emplace_back(set->name);
  return result;
}

std::string unsupported_message(const std::string& name, CpuFeatures cpu) {
  try {
    kernels_by_name(name, cpu);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    return error.what();
  }
  ADD_FAILURE() << name << " was accepted";
  return "";
}

constexpr CpuFeatures kAvx2Cpu = kCpuAvx2 | kCpuFma | kCpuF16c;
constexpr CpuFeatures kAvxVnniCpu = kAvx2Cpu | kCpuAvxVnni;
constexpr CpuFeatures kAvx512Cpu = kAvx2Cpu | kCpuAvx512f | kCpuAvx512bw | kCpuAvx512vl |
                                   kCpuAvx512dq | kCpuAvx512vnni | kCpuAvx512vbmi;

TEST(Dispatch, AvailableSetsEndWithScalarAndBestIsFirst) {
  const std::vector<const KernelSet*> sets = available_kernels();
  ASSERT_FALSE(sets.empty());
  EXPECT_EQ(sets.back()->name, "scalar");
  EXPECT_EQ(sets.front(), &best_kernels());
  for (const KernelSet* set : sets) {
    EXPECT_EQ(&kernels_by_name(set->name), set);
    EXPECT_EQ(kernels_by_name(set->name).name, set->name);
  }
}

TEST(Dispatch, UnknownNameListsTheKnown) {
  EXPECT_THAT(unsupported_message("sse9", detect_cpu()),
              AllOf(HasSubstr("'sse9'"), HasSubstr("scalar")));
  EXPECT_THAT(unsupported_message("", detect_cpu()), HasSubstr("scalar"));
}

TEST(Dispatch, ScalarNeedsNothing) {
  EXPECT_EQ(names(available_kernels(0)), std::vector<std::string>{"scalar"});
  EXPECT_EQ(kernels_by_name("scalar", 0).name, "scalar");
}

TEST(Verify, EverySetPasses) {
  for (const KernelSet* set : available_kernels()) EXPECT_NO_THROW(verify(*set)) << set->name;
}

/// A set with one function of another's kind in its place is found out, whichever it is.
TEST(Verify, AWrongResultIsNamed) {
  const auto message = [](auto change) -> std::string {
    KernelSet wrong = best_kernels();
    wrong.name = "broken";
    change(wrong);
    try {
      verify(wrong);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message([](KernelSet& k) {
                k.multiply = [](const float* x, const float*, float* y, std::int64_t n) noexcept {
                  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i];
                };
              }),
              AllOf(HasSubstr("'broken': multiply: found"), HasSubstr("ONEBIT_ISA=scalar")));
  EXPECT_THAT(message([](KernelSet& k) { k.gemm_f16 = k.gemm_bf16; }), HasSubstr("gemm_f16"));
  EXPECT_THAT(message([](KernelSet& k) {
                k.gemm_sign1_i8 = [](const PackedSigns&, const float*, const QuantizedRows&,
                                     std::int64_t, float*, std::int64_t, std::int64_t,
                                     std::int64_t) noexcept {};
              }),
              HasSubstr("gemm_sign1_i8"));
  // Blocks of q8_0 are the smaller ones: read as such, those of f32 are not left.
  EXPECT_THAT(message([](KernelSet& k) { k.attend_f32 = k.attend_q8_0; }), HasSubstr("attend_f32"));
  EXPECT_THAT(message([](KernelSet& k) { k.softmax = [](float*, std::int64_t) noexcept {}; }),
              HasSubstr("softmax"));
}

#if defined(__x86_64__)
TEST(Dispatch, SetsOfACpu) {
  EXPECT_EQ(names(available_kernels(kAvx512Cpu)),
            (std::vector<std::string>{"avx512", "avx2", "scalar"}));
  EXPECT_EQ(names(available_kernels(kAvx512Cpu | kCpuAvxVnni)),
            (std::vector<std::string>{"avx512", "avxvnni", "avx2", "scalar"}));
  EXPECT_EQ(names(available_kernels(kAvxVnniCpu)),
            (std::vector<std::string>{"avxvnni", "avx2", "scalar"}));
  EXPECT_EQ(names(available_kernels(kAvx2Cpu)), (std::vector<std::string>{"avx2", "scalar"}));
  EXPECT_EQ(kernels_by_name("avx2", kAvx2Cpu).name, "avx2");
  EXPECT_EQ(kernels_by_name("avxvnni", kAvxVnniCpu).name, "avxvnni");
  EXPECT_EQ(kernels_by_name("avx512", kAvx512Cpu).name, "avx512");
}

TEST(Dispatch, ASetThatTheCpuLacksIsAnError) {
  EXPECT_THAT(
      unsupported_message("avx512", kAvx2Cpu),
      AllOf(HasSubstr("'avx512'"), HasSubstr("this CPU lacks it"), HasSubstr("avx2, scalar")));
  // Every single feature counts.
  for (CpuFeatures bit = 1; bit <= kCpuAvxVnni; bit <<= 1) {
    const CpuFeatures cpu = (kAvx512Cpu | kCpuAvxVnni) & ~bit;
    if ((kAvx512Cpu & bit) != 0) {
      EXPECT_THAT(unsupported_message("avx512", cpu), HasSubstr("lacks"));
    }
    if ((kAvxVnniCpu & bit) != 0) {
      EXPECT_THAT(unsupported_message("avxvnni", cpu), HasSubstr("lacks"));
    }
    if ((kAvx2Cpu & bit) != 0) {
      EXPECT_THAT(unsupported_message("avx2", cpu), HasSubstr("lacks"));
    }
  }
}
#elif defined(__aarch64__)
TEST(Dispatch, SetsOfACpu) {
  EXPECT_EQ(names(available_kernels(kCpuDotprod)), (std::vector<std::string>{"neon", "scalar"}));
  EXPECT_EQ(kernels_by_name("neon", kCpuDotprod).name, "neon");
}

TEST(Dispatch, ASetThatTheCpuLacksIsAnError) {
  EXPECT_THAT(unsupported_message("neon", 0),
              AllOf(HasSubstr("'neon'"), HasSubstr("this CPU lacks it"), HasSubstr("scalar")));
}
#endif

}  // namespace
}  // namespace onebit::kernels
