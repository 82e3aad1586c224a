#include "base/half.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>

namespace onebit {
namespace {

// The compiler's own type is the independent reference, where it has one (clang 14 does not).
#ifdef __FLT16_MAX__
#ifdef __aarch64__
using Float16 = __fp16;  // g++ 12 has no _Float16 there
#else
using Float16 = _Float16;
#endif

TEST(Half, EveryF16ValueDecodesAsTheCompilerDoes) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto h = static_cast<f16_bits>(bits);
    Float16 reference;
    std::memcpy(&reference, &h, sizeof reference);
    const float expected = static_cast<float>(reference);
    const float actual = f16_to_f32(h);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << bits;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(expected), std::bit_cast<std::uint32_t>(actual));
    }
  }
}

TEST(Half, EncodingRoundsAsTheCompilerDoes) {
  // Every binary32 exponent, with mantissas around each rounding boundary of binary16.
  for (std::uint32_t exponent = 0; exponent < 0xFF; ++exponent) {
    for (std::uint32_t high = 0; high < 1024; high += 31) {
      for (std::uint32_t low : {0U, 1U, 0xFFFU, 0x1000U, 0x1001U, 0x1FFFU}) {
        const float value = std::bit_cast<float>((exponent << 23) | (high << 13) | low);
        const auto reference = static_cast<Float16>(value);
        f16_bits expected;
        std::memcpy(&expected, &reference, sizeof expected);
        ASSERT_EQ(expected, f32_to_f16(value)) << value;
        const auto negative = static_cast<f16_bits>(expected | 0x8000U);
        ASSERT_EQ(negative, f32_to_f16(-value)) << value;
      }
    }
  }
}
#endif

TEST(Half, Bf16RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(0x3F80, f32_to_bf16(1.0F));
  EXPECT_EQ(0x3F80, f32_to_bf16(std::bit_cast<float>(0x3F808000U)));  // tie, to even
  EXPECT_EQ(0x3F82, f32_to_bf16(std::bit_cast<float>(0x3F818000U)));  // tie, to even
  EXPECT_EQ(0x3F81, f32_to_bf16(std::bit_cast<float>(0x3F808001U)));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(1.5F, bf16_to_f32(f32_to_bf16(1.5F)));
}

}  // namespace
}  // namespace onebit
