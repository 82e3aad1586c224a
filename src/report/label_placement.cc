#include "report/label_placement.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace onebit::report {
namespace {

constexpr double kGap = 4;  // pixels between a point and its name
constexpr int kRings = 14;
constexpr double kRingStep = 14;  // pixels
constexpr int kAngles = 16;       // of a ring

double overlap(const Box& a, const Box& b) {
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  return width > 0 && height > 0 ? width * height : 0;
}

/// How much of `box` lies outside.
double outside(const Box& box, const Box& area) {
  return (box.right - box.left) * (box.bottom - box.top) - overlap(box, area);
}

class Placer {
 public:
  Placer(const std::vector<PointLabel>& points, double height, double point, const Box& area)
      : points_(points), height_(height), point_(point), area_(area) {
    for (const PointLabel& p : points) {
      taken_.push_back({p.x - point, p.y - point, p.x + point, p.y + point});
    }
  }

  PlacedLabel place(const PointLabel& label) {
    PlacedLabel best;
    double least = INFINITY;
    for (const auto& [box, leader] : candidates(label)) {
      double cost = outside(box, area_);
      for (const Box& other : taken_) cost += overlap(box, other);
      cost += crossings(label, box, leader);
      if (cost >= least) continue;
      least = cost;
      best = {box, leader};
      if (cost == 0) break;
    }
    taken_.push_back(best.box);
    if (best.leader) leaders_.push_back({label.x, label.y, best.box});
    return best;
  }

 private:
  struct Leader {
    double x;
    double y;
    Box box;
  };

  /// The nearest first: right, left, above, below, then around in rings.
  std::vector<std::pair<Box, bool>> candidates(const PointLabel& p) const {
    std::vector<std::pair<Box, bool>> result;
    const double off = point_ + kGap;
    const double half = height_ / 2;
    const auto add = [&](double left, double top, bool leader) {
      result.push_back({{left, top, left + p.width, top + height_}, leader});
    };
    add(p.x + off, p.y - half, false);
    add(p.x - off - p.width, p.y - half, false);
    add(p.x - p.width / 2, p.y - off - height_, false);
    add(p.x - p.width / 2, p.y + off, false);
    for (const double side : {0.0, -p.width}) {
      add(p.x + side, p.y - off - height_, false);
      add(p.x + side, p.y + off, false);
    }
    for (int ring = 1; ring <= kRings; ++ring) {
      const double radius = off + kRingStep * ring;
      for (int i = 0; i < kAngles; ++i) {
        const double angle = 2 * std::numbers::pi * i / kAngles;
        const double x = p.x + radius * std::cos(angle);
        const double y = p.y + radius * std::sin(angle);
        // The name's nearer end is on the ring.
        add(std::cos(angle) >= 0 ? x : x - p.width, y - half, true);
      }
    }
    return result;
  }

  /// Names that a line to this one would run over, and lines that this name would lie on.
  double crossings(const PointLabel& label, const Box& box, bool leader) const {
    double count = 0;
    for (std::size_t i = points_.size(); leader && i < taken_.size(); ++i) {
      if (crosses(label.x, label.y, box, taken_[i])) ++count;
    }
    for (const Leader& other : leaders_) {
      if (crosses(other.x, other.y, other.box, box)) ++count;
    }
    return count;
  }

  /// Whether the line from (x, y) to the nearest place of `to` touches `other`.
  static bool crosses(double x, double y, const Box& to, const Box& other) {
    const double end_x = std::clamp(x, to.left, to.right);
    const double end_y = (to.top + to.bottom) / 2;
    constexpr int kSteps = 24;
    for (int i = 0; i <= kSteps; ++i) {
      const double t = static_cast<double>(i) / kSteps;
      const double at_x = x + t * (end_x - x);
      const double at_y = y + t * (end_y - y);
      if (at_x > other.left && at_x < other.right && at_y > other.top && at_y < other.bottom) {
        return true;
      }
    }
    return false;
  }

  const std::vector<PointLabel>& points_;
  double height_;
  double point_;
  Box area_;
  std::vector<Box> taken_;  ///< points, then names
  std::vector<Leader> leaders_;
};

}  // namespace

std::vector<PlacedLabel> place_labels(const std::vector<PointLabel>& points, double height,
                                      double point, const Box& area) {
  Placer placer(points, height, point, area);
  std::vector<PlacedLabel> placed;
  placed.reserve(points.size());
  for (const PointLabel& label : points) placed.push_back(placer.place(label));
  return placed;
}

}  // namespace onebit::report
