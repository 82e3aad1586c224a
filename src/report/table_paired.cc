// Paired differences against a base, document by document.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "report/paired.h"
#include "report/tables.h"

namespace onebit::report {
namespace {

constexpr double kPercent = 100;

void add_row(const ModelEntry& model, const std::string& task, const PairedDifference& difference,
             Table& table) {
  const auto p = difference.p();
  constexpr double kSmallest = 1e-4;
  Cell p_cell = number_cell(p);
  if (p && *p < kSmallest) p_cell.text = "< 0.0001";
  table.rows.push_back({text_cell(model.name), text_cell(task),
                        number_cell(static_cast<double>(difference.documents)),
                        number_cell(kPercent * difference.mean, kPercent * difference.error),
                        number_cell(difference.z()), p_cell,
                        number_cell(static_cast<double>(difference.only_model)),
                        number_cell(static_cast<double>(difference.only_base))});
}

/// One model's rows: each task, the six's average, and MMLU's subjects pooled by category.
class ModelRows {
 public:
  ModelRows(const ModelEntry& base, const ModelEntry& model, Accuracy accuracy)
      : base_(base), model_(model), accuracy_(accuracy) {}

  void add_to(Table& table) {
    std::map<std::string, PairedDifference> known;
    for (const TaskEntry& task : base_.tasks) {
      if (is_mmlu_subject(*task.score)) continue;
      std::string metric;
      std::vector<ScorePair> pairs;
      std::set<std::string> visited;
      collect(task, visited, metric, pairs);
      if (pairs.empty()) continue;
      known[task.score->task] = paired_difference(pairs);
      add_row(model_, fmt::format("{} ({})", task_name(task.score->task), metric),
              known[task.score->task], table);
    }
    std::vector<PairedDifference> six;
    for (const KnownTask& task : kZeroShotTasks) {
      if (const auto found = known.find(task.id); found != known.end())
        six.push_back(found->second);
    }
    if (six.size() == std::size(kZeroShotTasks)) {
      add_row(model_, "average of the six", average(six), table);
    }
  }

 private:
  /// The pairs of a task, or of all tasks of a group and of its groups, each once.
  void collect(const TaskEntry& task, std::set<std::string>& visited, std::string& metric,
               std::vector<ScorePair>& pairs) const {
    if (!visited.insert(task.score->task).second) return;
    for (const std::string& name : task.score->subtasks) {
      const TaskEntry* subtask = base_.find_task(name);
      if (subtask != nullptr) collect(*subtask, visited, metric, pairs);
    }
    const TaskEntry* other = model_.find_task(task.score->task);
    if (other == nullptr || task.samples == nullptr || other->samples == nullptr) return;
    metric = accuracy_metric(*task.score, accuracy_);
    const std::vector<ScorePair> own = score_pairs(*task.samples, *other->samples, metric);
    pairs.insert(pairs.end(), own.begin(), own.end());
  }

  const ModelEntry& base_;
  const ModelEntry& model_;
  Accuracy accuracy_;
};

}  // namespace

Table paired_table(const Comparison& comparison, const TableOptions& options) {
  Table table{.id = "paired"};
  if (comparison.models().empty()) return table;
  const ModelEntry& base = comparison.models()[options.base];
  table.caption = fmt::format("Differences to {} on the same documents", base.name);
  table.remark =
      "The difference is the mean over documents of what the model scores more than the base, with "
      "the standard error of that mean; z is their ratio, and p the chance of a |z| as large if "
      "both "
      "were equally good. Of many comparisons some have a small p by chance. The last columns "
      "count "
      "documents that one of the two alone has right.";
  table.columns = {{.name = "model", .words = true},
                   {.name = "task", .words = true},
                   {.name = "documents", .digits = 0},
                   {.name = "difference, percentage points"},
                   {.name = "z"},
                   {.name = "p", .digits = 4},
                   {.name = "this model", .group = "right alone", .digits = 0},
                   {.name = "the base", .group = "right alone", .digits = 0}};
  for (std::size_t m = 0; m < comparison.models().size(); ++m) {
    if (m != options.base) {
      ModelRows(base, comparison.models()[m], options.accuracy).add_to(table);
    }
  }
  return table;
}

}  // namespace onebit::report
