#include "formats/sign1.h"

#include <cmath>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "base/rng.h"

namespace onebit::formats {
namespace {

TEST(Sign1, RoundTripAtEdgeSizes) {
  Rng rng(7);
  for (const std::int64_t cols : {1, 2, 63, 64, 65, 127, 128, 129, 576, 1531}) {
    std::vector<float> w(static_cast<std::size_t>(cols));
    for (float& v : w) v = static_cast<float>(rng.uniform() - 0.5);
    std::vector<std::uint64_t> words(static_cast<std::size_t>(sign1_row_words(cols)), ~0ULL);
    sign1_pack_row(w, words);
    std::vector<float> s(w.size());
    sign1_unpack_row(words, s);
    for (std::size_t i = 0; i < w.size(); ++i) ASSERT_EQ(s[i], w[i] < 0 ? -1.0F : 1.0F);
    if (cols % 64 != 0) {
      EXPECT_EQ(words.back() >> (cols % 64), 0U) << "padding must be zero";
    }
  }
}

TEST(Sign1, ZeroOfEitherSignIsPlusOne) {
  const std::vector<float> w = {0.0F, -0.0F, -1e-45F, 1e-45F};
  std::vector<std::uint64_t> words(1);
  sign1_pack_row(w, words);
  EXPECT_EQ(words[0], 0b0100U);
}

TEST(Sign1, RowSizesOfThePaper) {
  // 4096 x 4096 with f16 g and h: 1.0078 bits a weight, 1.0073 a stored parameter, as
  // tools/accept/sizes.py prints too.
  const std::int64_t stored = 4096 * sign1_row_bytes(4096) * 8 + 2 * 4096 * 16;
  RecordProperty("bits", std::to_string(stored));
  const auto bits = static_cast<double>(stored);
  EXPECT_NEAR(bits / (4096.0 * 4096), 1.0078, 5e-5);
  EXPECT_NEAR(bits / (4096.0 * 4096 + 2 * 4096), 1.0073, 5e-5);
  EXPECT_EQ(sign1_row_bytes(576), 72);
}

}  // namespace
}  // namespace onebit::formats
