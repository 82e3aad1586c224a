// Names beside points, none over another name or point.
#pragma once

#include <vector>

namespace onebit::report {

/// Pixels, downwards from the top left.
struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;

  bool overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
  bool holds(const Box& other) const {
    return left <= other.left && other.right <= right && top <= other.top && other.bottom <= bottom;
  }
};

struct PointLabel {
  double x = 0;  ///< of the point
  double y = 0;
  double width = 0;  ///< of its name
};

struct PlacedLabel {
  Box box;              ///< of the name
  bool leader = false;  ///< it is so far off that a line should lead to it
};

/// Places names of `height` within `area`, each as near to its point as those before it leave room:
/// first beside it, then in growing circles around it. Where there is no room at all a name is
/// placed where it covers least. Points are circles of radius `point`.
std::vector<PlacedLabel> place_labels(const std::vector<PointLabel>& points, double height,
                                      double point, const Box& area);

}  // namespace onebit::report
