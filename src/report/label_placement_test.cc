#include "report/label_placement.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace onebit::report {
namespace {

constexpr double kHeight = 16;
constexpr double kPoint = 6;
constexpr Box kArea{70, 10, 570, 340};

/// No name lies over another name or a point, and all are within the area.
void expect_clear(const std::vector<PointLabel>& points) {
  const std::vector<PlacedLabel> placed = place_labels(points, kHeight, kPoint, kArea);
  ASSERT_EQ(placed.size(), points.size());
  for (std::size_t i = 0; i < placed.size(); ++i) {
    EXPECT_TRUE(kArea.holds(placed[i].box)) << i;
    EXPECT_DOUBLE_EQ(placed[i].box.right - placed[i].box.left, points[i].width);
    for (std::size_t j = 0; j < placed.size(); ++j) {
      const Box point{points[j].x - kPoint, points[j].y - kPoint, points[j].x + kPoint,
                      points[j].y + kPoint};
      EXPECT_FALSE(placed[i].box.overlaps(point)) << i << " over point " << j;
      if (i != j) {
        EXPECT_FALSE(placed[i].box.overlaps(placed[j].box)) << i << " over " << j;
      }
    }
  }
}

TEST(PlaceLabels, AloneIsBesideItsPoint) {
  const auto placed = place_labels({{200, 100, 80}}, kHeight, kPoint, kArea);
  EXPECT_FALSE(placed[0].leader);
  EXPECT_GT(placed[0].box.left, 200 + kPoint);
  EXPECT_DOUBLE_EQ((placed[0].box.top + placed[0].box.bottom) / 2, 100);
}

TEST(PlaceLabels, AtTheEdgesTurnsInwards) {
  expect_clear({{565, 15, 150}, {75, 335, 150}, {565, 335, 150}, {75, 15, 150}});
}

TEST(PlaceLabels, OfPointsOnOnePlace) {
  expect_clear(
      {{300, 200, 120}, {300, 200, 140}, {301, 201, 160}, {300, 199, 110}, {299, 200, 90}});
}

TEST(PlaceLabels, OfACluster) {
  Rng rng(1);
  std::vector<PointLabel> points;
  points.reserve(14);
  for (int i = 0; i < 14; ++i) {
    points.push_back({250 + static_cast<double>(rng.below(60)),
                      150 + static_cast<double>(rng.below(50)),
                      60 + static_cast<double>(rng.below(90))});
  }
  expect_clear(points);
}

TEST(PlaceLabels, MoreThanThereIsRoomForStillEnds) {
  const std::vector<PointLabel> points(100, {300, 200, 400});
  EXPECT_EQ(place_labels(points, kHeight, kPoint, kArea).size(), 100U);
}

}  // namespace
}  // namespace onebit::report
