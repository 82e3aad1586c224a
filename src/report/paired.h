// Is one model better than another on the same documents? The differences document by document have
// a smaller error than the difference of two means, since easy documents are easy for both.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "report/records.h"

namespace onebit::report {

/// Of a model against a base.
struct PairedDifference {
  std::int64_t documents = 0;
  double mean = 0;              ///< of model - base
  double error = 0;             ///< of that mean
  std::int64_t only_model = 0;  ///< documents that the model alone has right
  std::int64_t only_base = 0;

  /// mean / error; none where the error is 0.
  std::optional<double> z() const;
  /// The chance of a |z| as large if both were equally good, z being normal; none without z.
  std::optional<double> p() const;
};

/// Scores of one document: the base's, the model's.
using ScorePair = std::pair<double, double>;

/// Of the documents that have `metric` in both, in their order.
std::vector<ScorePair> score_pairs(const TaskSamples& base, const TaskSamples& model,
                                   const std::string& metric);

/// The mean of the differences and its error s / sqrt(n), s with n - 1. `pairs` is not empty.
PairedDifference paired_difference(std::span<const ScorePair> pairs);

/// The plain mean of several tasks' differences, whose errors are independent: its error is
/// sqrt(Σ error²) / n. `tasks` is not empty.
PairedDifference average(std::span<const PairedDifference> tasks);

}  // namespace onebit::report
