#include "eval/log_softmax.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "eval/vector_exp.h"

namespace onebit::eval {
namespace {

/// What the header promises.
double bound(std::size_t vocabulary) {
  return (2 + std::log(static_cast<double>(vocabulary))) * 0x1p-24;
}

long double exact(const std::vector<float>& row) {
  const float max = *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (const float z : row) sum += std::exp(static_cast<long double>(z) - max);
  return max + std::log(sum);
}

std::vector<float> random_row(std::size_t size, double width, double shift, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> row(size);
  for (float& z : row) z = static_cast<float>(shift + width * (rng.uniform() - 0.5));
  return row;
}

TEST(VectorExp, WithinItsBoundEverywhere) {
  double worst = 0;
  constexpr int kSteps = 4'000'000;
  for (int step = 0; step < kSteps; step += 4) {
    float x[4];
    for (int lane = 0; lane < 4; ++lane) {
      x[lane] = static_cast<float>(0.1 - 87.1 * (step + lane) / kSteps);
    }
    const Float4 found = exp4(load4(x));
    for (int lane = 0; lane < 4; ++lane) {
      const double expected = std::exp(static_cast<double>(x[lane]));
      worst = std::max(worst, std::abs(found[lane] / expected - 1));
    }
  }
  EXPECT_LE(worst, 0x1p-23);
  EXPECT_GT(worst, 0x1p-25);  // of a float: not what double would give
}

TEST(VectorExp, Ends) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[4] = {0, -87, -std::numeric_limits<float>::max(), -infinity};
  const Float4 found = exp4(load4(x));
  EXPECT_EQ(found[0], 1);
  EXPECT_NEAR(found[1] / std::exp(-87.0), 1, 0x1p-23);
  EXPECT_EQ(found[2], 0);
  EXPECT_EQ(found[3], 0);
  EXPECT_EQ(exp1(std::nextafter(-87.0F, -infinity)), 0);
  const float nothing[4] = {-0.0F, -1e-30F, -std::numeric_limits<float>::denorm_min(), 1e-30F};
  for (const float v : nothing) EXPECT_EQ(exp1(v), 1);
}

TEST(LogSumExp, WithinItsBound) {
  for (const std::size_t size : {1U, 2U, 3U, 4U, 5U, 7U, 8U, 9U, 127U, 128U, 129U, 1000U, 49152U}) {
    for (const double width : {0.0, 1e-3, 4.0, 30.0, 200.0}) {
      for (const double shift : {0.0, -50.0, 1000.0}) {
        const auto row = random_row(size, width, shift, size + static_cast<std::size_t>(width));
        const LogSumExp found = log_sum_exp(row);
        // A result of some thousand nats has its own rounding in double: none of the bound's.
        EXPECT_NEAR(found.value, static_cast<double>(exact(row)), bound(size))
            << size << " values, width " << width << ", shift " << shift;
        EXPECT_TRUE(found.finite);
        EXPECT_EQ(found.top,
                  static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin()));
      }
    }
  }
}

TEST(LogSumExp, EqualLogitsAndExtremes) {
  for (const std::size_t size : {1U, 6U, 27U, 300U}) {
    const LogSumExp found = log_sum_exp(std::vector<float>(size, 3.5F));
    EXPECT_NEAR(found.value, 3.5 + std::log(static_cast<double>(size)), 1e-15);
    EXPECT_EQ(found.top, 0U);
  }
  // One token alone: its probability is 1, exactly.
  std::vector<float> row(50, -200.0F);
  row[41] = 0;
  EXPECT_EQ(log_sum_exp(row).value, 0);
  std::fill(row.begin(), row.end(), -std::numeric_limits<float>::max());
  row[3] = std::numeric_limits<float>::max();
  EXPECT_EQ(log_sum_exp(row).value, std::numeric_limits<float>::max());
}

TEST(LogSumExp, TopIsTheFirstOfEquals) {
  for (const std::size_t size : {2U, 9U, 128U, 130U, 515U}) {
    for (const std::size_t first : {std::size_t{0}, size / 3, size - 2}) {
      std::vector<float> row = random_row(size, 5, -10, size);
      row[first] = 0;
      row[size - 1] = 0;
      EXPECT_EQ(log_sum_exp(row).top, first) << size;
    }
  }
}

TEST(LogSumExp, FindsWhatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t size : {1U, 4U, 11U, 128U, 261U}) {
      for (std::size_t i = 0; i < size; ++i) {
        std::vector<float> row = random_row(size, 5, 0, size);
        row[i] = bad;
        EXPECT_FALSE(log_sum_exp(row).finite) << bad << " at " << i << " of " << size;
      }
    }
  }
}

}  // namespace
}  // namespace onebit::eval
