#include "report/axis.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace onebit::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Axis, HoldsItsValuesWithRoom) {
  for (const bool log : {false, true}) {
    const Axis axis = axis_around({3, 7, 250}, log);
    EXPECT_EQ(axis.log, log);
    EXPECT_LT(axis.low, 3);
    EXPECT_GT(axis.high, 250);
    EXPECT_NEAR(axis.share(axis.low), 0, 1e-12);
    EXPECT_NEAR(axis.share(axis.high), 1, 1e-12);
    EXPECT_LT(axis.share(3), axis.share(7));
  }
}

TEST(Axis, OneValueIsInTheMiddle) {
  EXPECT_NEAR(axis_around({5}, false).share(5), 0.5, 1e-12);
  EXPECT_NEAR(axis_around({5}, true).share(5), 0.5, 1e-12);
  EXPECT_NEAR(axis_around({0}, false).share(0), 0.5, 1e-12);
}

TEST(Axis, IsSoundWhateverTheValues) {
  for (const auto& values : std::vector<std::vector<double>>{
           {}, {NAN}, {INFINITY}, {-1, 5}, {1e308, -1e308}, {1e-320}, {1e300, 1e-300}, {0, 0}}) {
    for (const bool log : {false, true}) {
      const Axis axis = axis_around(values, log);
      EXPECT_TRUE(std::isfinite(axis.low) && std::isfinite(axis.high));
      EXPECT_LT(axis.low, axis.high);
      EXPECT_LT(tic_values(axis).size(), 40U);
    }
  }
}

TEST(SpreadOut, NeedsPositiveValues) {
  EXPECT_TRUE(spread_out({1, 10}, 8));
  EXPECT_FALSE(spread_out({2, 10}, 8));
  EXPECT_FALSE(spread_out({0, 10}, 8));
  EXPECT_FALSE(spread_out({-1, 10}, 8));
}

TEST(TicValues, AreRound) {
  EXPECT_THAT(tic_values({0, 10, false}), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(tic_values({9, 1100, true}), ElementsAre(10, 100, 1000));
  EXPECT_THAT(tic_values({9, 110, true}), ElementsAre(10, 30, 100));
  EXPECT_THAT(tic_values({12, 60, true}), ElementsAre(20, 30, 40, 50, 60));
  EXPECT_LE(tic_values({1, 1e30, true}).size(), 9U);
  EXPECT_FALSE(std::signbit(tic_values({-1, 1, false})[2]));
}

TEST(AxisScript, SaysRangeAndMarks) {
  const std::string script = axis_script("x", {9, 2e6, true});
  EXPECT_THAT(script, HasSubstr("set logscale x\nset xrange [9:2000000]\nset xtics ('10' 10"));
  EXPECT_THAT(script, HasSubstr("'1e6' 1000000"));
  EXPECT_THAT(axis_script("cb", {0, 1, false}), HasSubstr("unset logscale cb\nset cbrange [0:1]"));
}

}  // namespace
}  // namespace onebit::report
