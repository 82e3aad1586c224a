#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace onebit::eval {

MeanError mean_error(std::span<const double> values) {
  ONEBIT_CHECK(!values.empty());
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / n;
  if (values.size() == 1) return {mean, 0};
  double squares = 0;  // of deviations: no cancellation
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / (n - 1) / n)};
}

double quantile(std::span<const double> values, double q) {
  ONEBIT_CHECK(!values.empty() && q >= 0 && q <= 1);
  std::vector<double> sorted(values.begin(), values.end());
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(position);
  std::nth_element(sorted.begin(), sorted.begin() + below, sorted.end());
  const double low = sorted[static_cast<std::size_t>(below)];
  const double share = position - static_cast<double>(below);
  if (share == 0) return low;
  const double high = *std::min_element(sorted.begin() + below + 1, sorted.end());
  return low + share * (high - low);
}

}  // namespace onebit::eval
