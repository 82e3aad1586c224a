#include "report/axis.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace onebit::report {
namespace {

constexpr double kRoom = 0.08;  // beside the outermost values

std::vector<double> log_tics(const Axis& range, const std::vector<double>& digits) {
  std::vector<double> tics;
  const auto first = static_cast<int>(std::floor(std::log10(range.low)));
  const auto last = static_cast<int>(std::ceil(std::log10(range.high)));
  for (int power = first; power <= last; ++power) {
    for (const double digit : digits) {
      const double value = digit * std::pow(10, power);
      if (value >= range.low && value <= range.high) tics.push_back(value);
    }
  }
  return tics;
}

std::vector<double> linear_tics(const Axis& range) {
  constexpr double kMost = 7;
  const double least_step = (range.high - range.low) / kMost;
  const double power = std::pow(10, std::floor(std::log10(least_step)));
  double step = 10 * power;
  for (const double digit : {1, 2, 5}) {
    if (digit * power >= least_step) {
      step = digit * power;
      break;
    }
  }
  std::vector<double> tics;
  for (double n = std::ceil(range.low / step); n * step <= range.high * (1 + 1e-12); ++n) {
    tics.push_back(n * step + 0.0);  // -0 becomes 0
  }
  return tics;
}

std::string tic_text(double value) {
  constexpr double kLarge = 1e6;
  if (std::fabs(value) < kLarge) return fmt::format("{:.6g}", value);
  const auto power = static_cast<int>(std::floor(std::log10(std::fabs(value)) + 1e-9));
  return fmt::format("{:.3g}e{}", value / std::pow(10, power), power);
}

}  // namespace

double Axis::share(double value) const {
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

Axis axis_around(const std::vector<double>& values, bool log) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) return {0, 1, false};
  if (log && low > 0) {
    // Rounding leaves next to nothing between neighbours.
    const double spread = std::max(std::log(high / low), 0.1);
    const double middle = (std::log(low) + std::log(high)) / 2;
    const double half = spread * (0.5 + kRoom);
    const Axis range{std::exp(middle - half), std::exp(middle + half), true};
    if (range.low > 0 && std::isfinite(range.high)) return range;
  }
  const double size = std::max({std::fabs(low), std::fabs(high), 1e-300});
  const double spread = std::max(high / size - low / size, 1e-3) * size;
  const double middle = low / 2 + high / 2;
  const Axis range{middle - spread * (0.5 + kRoom), middle + spread * (0.5 + kRoom), false};
  return std::isfinite(range.low) && std::isfinite(range.high) ? range : Axis{};
}

bool spread_out(const std::vector<double>& values, double factor) {
  double low = INFINITY;
  double high = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    if (value <= 0) return false;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return high >= factor * low;
}

std::vector<double> tic_values(const Axis& range) {
  if (!range.log) return linear_tics(range);
  constexpr std::size_t kLeast = 3;
  constexpr std::size_t kMost = 9;
  for (const std::vector<double>& digits :
       {std::vector<double>{1}, std::vector<double>{1, 3}, std::vector<double>{1, 2, 5}}) {
    std::vector<double> tics = log_tics(range, digits);
    if (tics.size() < kLeast) continue;
    // Many decades: every second, third, … of them.
    const std::size_t every = (tics.size() + kMost - 1) / kMost;
    std::vector<double> kept;
    for (std::size_t i = 0; i < tics.size(); i += every) kept.push_back(tics[i]);
    return kept;
  }
  return linear_tics(range);  // within less than a decade
}

std::string axis_script(std::string_view axis, const Axis& range) {
  std::string tics;
  for (const double value : tic_values(range)) {
    tics += fmt::format("{}'{}' {}", tics.empty() ? "" : ", ", tic_text(value), value);
  }
  return fmt::format("{0} logscale {1}\nset {1}range [{2}:{3}]\nset {1}tics ({4})\n",
                     range.log ? "set" : "unset", axis, range.low, range.high, tics);
}

}  // namespace onebit::report
