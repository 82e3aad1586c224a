// The range and marks of an axis, chosen here and not by gnuplot, so that labels can be placed
// where their points will be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onebit::report {

struct Axis {
  double low = 0;
  double high = 1;
  bool log = false;

  /// Where a value lies: 0 at `low`, 1 at `high`.
  double share(double value) const;
};

/// Around finite `values`, with some room at both ends; `log` only where all are above 0. One value
/// alone is in the middle.
Axis axis_around(const std::vector<double>& values, bool log);

/// Whether values are spread so far that a logarithmic axis shows them better: all above 0, and the
/// largest at least `factor` times the smallest.
bool spread_out(const std::vector<double>& values, double factor);

/// Range, scale and marks for axis "x", "y" or "cb", gnuplot's for colours.
std::string axis_script(std::string_view axis, const Axis& range);

/// Round numbers within the range, three to nine of them where the range allows.
std::vector<double> tic_values(const Axis& range);

}  // namespace onebit::report
