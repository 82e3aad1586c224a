#include "eval/task_result.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/check.h"
#include "eval/statistics.h"

namespace onebit::eval {
namespace {

double value_of(const Sample& sample, Metric metric) {
  switch (metric) {
    case Metric::kAcc:
      return sample.acc.value();
    case Metric::kAccNorm:
      return sample.acc_norm.value();
    case Metric::kPerplexity:
      break;
  }
  return sample.choices.front().loglikelihood;
}

bool is_member(const Group& group, std::string_view task) {
  return std::any_of(group.members.begin(), group.members.end(), [&](const std::string& member) {
    if (member == task) return true;
    const Group* const inner = find_group(member);
    return inner != nullptr && is_member(*inner, task);
  });
}

}  // namespace

TaskResult summarize(const Task& task, std::span<const Sample> samples) {
  ONEBIT_CHECK(!samples.empty());
  TaskResult result = {.task = &task, .documents = static_cast<std::int64_t>(samples.size())};
  for (const Sample& sample : samples) result.truncated += sample.truncated ? 1 : 0;
  for (const Metric metric : task.metrics) {
    std::vector<double> values;
    values.reserve(samples.size());
    for (const Sample& sample : samples) values.push_back(value_of(sample, metric));
    const MeanError mean = mean_error(values);
    MetricValue value = {.metric = metric, .value = mean.mean};
    double scale = 1;
    if (metric == Metric::kPerplexity) value.value = scale = std::exp(-mean.mean);
    if (samples.size() > 1) value.error = scale * mean.error;
    result.metrics.push_back(value);
  }
  return result;
}

GroupResult summarize(const Group& group, std::span<const TaskResult> tasks) {
  double sum = 0;
  double variance = 0;
  std::int64_t members = 0;
  bool has_error = true;
  GroupResult result = {.group = &group};
  for (const TaskResult& task : tasks) {
    if (!is_member(group, task.task->name)) continue;
    const auto acc = std::find_if(task.metrics.begin(), task.metrics.end(),
                                  [](const MetricValue& m) { return m.metric == Metric::kAcc; });
    ONEBIT_CHECK(acc != task.metrics.end());
    const auto n = static_cast<double>(task.documents);
    const double error = acc->error.value_or(0);
    has_error = has_error && acc->error.has_value();
    sum += acc->value * n;
    variance += (n - 1) * n * error * error;
    result.documents += task.documents;
    ++members;
  }
  ONEBIT_CHECK(members > 0);
  const auto all = static_cast<double>(result.documents);
  result.acc.value = sum / all;
  if (has_error) {
    result.acc.error = std::sqrt(variance / (all - static_cast<double>(members)) / all);
  }
  return result;
}

}  // namespace onebit::eval
