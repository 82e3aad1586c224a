#include "report/paired.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "eval/statistics.h"

namespace onebit::report {

std::optional<double> PairedDifference::z() const {
  if (error == 0) return std::nullopt;
  return mean / error;
}

std::optional<double> PairedDifference::p() const {
  const auto z_value = z();
  if (!z_value) return std::nullopt;
  return std::erfc(std::fabs(*z_value) / std::numbers::sqrt2);
}

std::vector<ScorePair> score_pairs(const TaskSamples& base, const TaskSamples& model,
                                   const std::string& metric) {
  std::vector<ScorePair> pairs;
  for (const auto& [document, sample] : base) {
    const auto other = model.find(document);
    if (other == model.end()) continue;
    const auto one = sample.scores.find(metric);
    const auto two = other->second.scores.find(metric);
    if (one == sample.scores.end() || two == other->second.scores.end()) continue;
    pairs.emplace_back(one->second, two->second);
  }
  return pairs;
}

PairedDifference paired_difference(std::span<const ScorePair> pairs) {
  PairedDifference result;
  std::vector<double> differences;
  for (const auto& [base, model] : pairs) {
    differences.push_back(model - base);
    if (model > base) ++result.only_model;
    if (model < base) ++result.only_base;
  }
  const eval::MeanError mean = eval::mean_error(differences);
  result.documents = static_cast<std::int64_t>(pairs.size());
  result.mean = mean.mean;
  result.error = mean.error;
  return result;
}

PairedDifference average(std::span<const PairedDifference> tasks) {
  ONEBIT_CHECK(!tasks.empty());
  PairedDifference result;
  double squares = 0;
  for (const PairedDifference& task : tasks) {
    result.documents += task.documents;
    result.mean += task.mean;
    result.only_model += task.only_model;
    result.only_base += task.only_base;
    squares += task.error * task.error;
  }
  const auto n = static_cast<double>(tasks.size());
  result.mean /= n;
  result.error = std::sqrt(squares) / n;
  return result;
}

}  // namespace onebit::report
