// From samples to what a table shows: metrics of tasks, means of groups, and their errors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "eval/sample.h"
#include "eval/task.h"

namespace onebit::eval {

struct MetricValue {
  Metric metric = Metric::kAcc;
  double value = 0;
  std::optional<double> error = {};  ///< standard error; none of one document
};

struct TaskResult {
  const Task* task = nullptr;
  std::int64_t documents = 0;  ///< scored
  std::int64_t truncated = 0;  ///< of which so many lost the beginning of a context
  std::vector<MetricValue> metrics = {};
};

struct GroupResult {
  const Group* group = nullptr;
  std::int64_t documents = 0;
  MetricValue acc = {};
};

/// Means over `samples`, at least one, all the task's; error s / sqrt(n) with s over n - 1. Of
/// perplexity P = e^(-mean): P times the error of the mean, which is what lm-eval's bootstrap
/// estimates.
TaskResult summarize(const Task& task, std::span<const Sample> samples);

/// Of those of `tasks` that are the group's, directly or through its groups: the mean of their
/// accuracies a_i weighted by their documents n_i, and the pooled error
/// sqrt(Σ (n_i - 1) n_i e_i² / (Σ n_i - k) / Σ n_i) of k tasks with errors e_i.
GroupResult summarize(const Group& group, std::span<const TaskResult> tasks);

}  // namespace onebit::eval
