// Statistics of per-position scores.
#pragma once

#include <span>

namespace onebit::eval {

struct MeanError {
  double mean = 0;
  double error = 0;  ///< standard error of the mean: s / sqrt(n), s with n - 1; 0 for one value
};

/// `values` must not be empty.
MeanError mean_error(std::span<const double> values);

/// The q-quantile, 0 <= q <= 1, linear between order statistics (NumPy's default): position
/// q (n - 1). `values` must not be empty.
double quantile(std::span<const double> values, double q);

}  // namespace onebit::eval
