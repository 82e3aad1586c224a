#include "report/run_curves.h"

#include <algorithm>

namespace onebit::report {

bool is_evaluation(const std::string& key) { return key.starts_with("held_out"); }

Points curve_points(const TrainingRun& run, const std::string& key, std::size_t smooth) {
  Points points;
  std::vector<double> values;
  for (const MetricsRow& row : run.rows) {
    const auto found = row.metrics.find(key);
    if (found == row.metrics.end() || row.block) continue;
    values.push_back(found->second);
    const std::size_t count = std::min(values.size(), smooth);
    double sum = 0;
    for (std::size_t i = values.size() - count; i < values.size(); ++i) sum += values[i];
    points.emplace_back(row.step, sum / static_cast<double>(count));
  }
  return points;
}

bool varies(const Points& points) {
  return std::any_of(points.begin(), points.end(),
                     [&](const auto& p) { return p.second != points.front().second; });
}

Points thinned(const Points& points, std::size_t most) {
  const std::size_t each = (points.size() + most - 1) / most;
  if (each <= 1) return points;
  Points result;
  for (std::size_t begin = 0; begin < points.size(); begin += each) {
    const std::size_t end = std::min(points.size(), begin + each);
    double x = 0;
    double y = 0;
    for (std::size_t i = begin; i < end; ++i) {
      x += points[i].first;
      y += points[i].second;
    }
    const auto count = static_cast<double>(end - begin);
    result.emplace_back(x / count, y / count);
  }
  return result;
}

}  // namespace onebit::report
