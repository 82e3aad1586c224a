// Every metric of every task, models side by side.
#include <algorithm>
#include <fmt/format.h>

#include "report/tables.h"

namespace onebit::report {
namespace {

struct Measured {
  std::string task;
  std::string metric;
};

/// In order of first appearance.
std::vector<Measured> all_metrics(const Comparison& comparison, bool mmlu_subjects) {
  std::vector<Measured> result;
  for (const ModelEntry& model : comparison.models()) {
    for (const TaskEntry& task : model.tasks) {
      if (is_mmlu_subject(*task.score) != mmlu_subjects) continue;
      for (const auto& named : task.score->scores) {
        const std::string& metric = named.first;
        const auto same = [&](const Measured& m) {
          return m.task == task.score->task && m.metric == metric;
        };
        if (std::none_of(result.begin(), result.end(), same)) {
          result.push_back({task.score->task, metric});
        }
      }
    }
  }
  return result;
}

/// "5", or "5, 0" where models were asked differently.
std::string setting_words(const Comparison& comparison, const std::string& task, const char* name) {
  std::vector<std::string> values;
  for (const ModelEntry& model : comparison.models()) {
    const TaskEntry* entry = model.find_task(task);
    if (entry == nullptr) continue;
    const auto found = entry->score->settings.find(name);
    if (found == entry->score->settings.end()) continue;
    if (std::find(values.begin(), values.end(), found->second) == values.end()) {
      values.push_back(found->second);
    }
  }
  return fmt::format("{}", fmt::join(values, ", "));
}

/// What is better of a metric that is no share.
Better better_of(const std::string& metric) {
  if (is_share(metric)) return Better::kHigher;
  const bool lower = metric.find("perplexity") != std::string::npos || metric.starts_with("bits_");
  return lower ? Better::kLower : Better::kNeither;
}

}  // namespace

Table tasks_table(const Comparison& comparison, bool mmlu_subjects) {
  Table table{.id = mmlu_subjects ? "mmlu_subjects" : "tasks",
              .caption = mmlu_subjects ? "MMLU's subjects, with standard errors"
                                       : "Every metric of every task, with standard errors"};
  table.folded = mmlu_subjects;
  table.columns = {{.name = "task", .words = true},
                   {.name = "metric", .words = true},
                   {.name = "shots", .words = true},
                   {.name = "split", .words = true},
                   {.name = "documents", .words = true}};
  const std::size_t first = table.columns.size();
  for (const ModelEntry& model : comparison.models()) table.columns.push_back({.name = model.name});
  for (const Measured& measured : all_metrics(comparison, mmlu_subjects)) {
    const bool share = is_share(measured.metric);
    table.rows.push_back({text_cell(task_name(measured.task)),
                          text_cell(share ? measured.metric + ", %" : measured.metric),
                          text_cell(setting_words(comparison, measured.task, "shots")),
                          text_cell(setting_words(comparison, measured.task, "split")),
                          text_cell(setting_words(comparison, measured.task, "documents"))});
    std::vector<const Settings*> settings;
    for (const ModelEntry& model : comparison.models()) {
      const TaskEntry* task = model.find_task(measured.task);
      const Score* score = task == nullptr ? nullptr : task->score->find(measured.metric);
      settings.push_back(score == nullptr ? nullptr : &task->score->settings);
      Cell cell;
      if (score != nullptr) {
        const double unit = share ? 100 : 1;
        cell.value = unit * score->value;
        if (score->error) cell.error = unit * *score->error;
      }
      table.rows.back().push_back(cell);
    }
    const std::vector<Cell*> cells = row_cells(table, table.rows.size() - 1, first);
    note_differences(settings, cells, table);
    mark_best(cells, better_of(measured.metric));
  }
  return table;
}

}  // namespace onebit::report
