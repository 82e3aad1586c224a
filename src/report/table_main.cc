// OneBit's table of results (arXiv 2402.11295, table 2): perplexities, six tasks and their average;
// and MMLU by category beside it.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/tables.h"

namespace onebit::report {
namespace {

constexpr double kPercent = 100;

Cell accuracy_cell(const TaskEntry* task, const std::string& metric, Table& table) {
  const Score* score = task == nullptr ? nullptr : task->score->find(metric);
  if (score == nullptr) return {};
  Cell cell = number_cell(kPercent * score->value);
  if (score->error) cell.error = kPercent * *score->error;
  if (task->score->truncated > 0) {
    cell.notes.push_back(table.note(fmt::format(
        "{} documents were longer than the context and were cut", task->score->truncated)));
  }
  return cell;
}

/// The first columns of every table of models.
void add_model_columns(Table& table) {
  table.columns = {
      {.name = "model", .words = true}, {.name = "method", .words = true}, {.name = "bits"}};
}

std::vector<Cell> model_cells(const ModelEntry& model) {
  return {text_cell(model.name), text_cell(model.info.method), number_cell(model.info.matrix_bits)};
}

/// Adds a column of a task, where a model has it; whether one has.
bool add_task(const Comparison& comparison, const KnownTask& known, const std::string& group,
              Accuracy accuracy, Table& table, std::string* metric_shown = nullptr) {
  std::vector<const Settings*> settings;
  std::vector<Cell> cells;
  bool any = false;
  for (const ModelEntry& model : comparison.models()) {
    const TaskEntry* task = model.find_task(known.id);
    const std::string metric = task == nullptr ? "" : accuracy_metric(*task->score, accuracy);
    cells.push_back(accuracy_cell(task, metric, table));
    settings.push_back(cells.back().value ? &task->score->settings : nullptr);
    any = any || cells.back().value;
    if (metric_shown != nullptr && cells.back().value) *metric_shown = metric;
  }
  if (!any) return false;
  table.columns.push_back({.name = known.name, .group = group, .better = Better::kHigher});
  for (std::size_t r = 0; r < cells.size(); ++r) table.rows[r].push_back(cells[r]);
  note_differences(settings, column_cells(table, table.columns.size() - 1), table);
  return true;
}

/// The mean of the columns from `first` on, of rows that have all of them.
void add_average(std::size_t first, Table& table) {
  const std::size_t count = table.columns.size() - first;
  if (count < 2) return;
  table.columns.push_back({.name = fmt::format("average of {}", count),
                           .group = table.columns[first].group,
                           .better = Better::kHigher});
  for (auto& row : table.rows) {
    double sum = 0;
    double squares = 0;
    bool whole = true;
    bool comparable = true;
    for (std::size_t c = first; c < row.size(); ++c) {
      whole = whole && row[c].value;
      comparable = comparable && row[c].comparable;
      sum += row[c].value.value_or(0);
      squares += row[c].error.value_or(NAN) * row[c].error.value_or(NAN);
    }
    Cell cell;
    if (whole) {
      cell.value = sum / static_cast<double>(count);
      if (!std::isnan(squares)) cell.error = std::sqrt(squares) / static_cast<double>(count);
      cell.comparable = comparable;
      if (!comparable) {
        cell.notes.push_back(table.note("of accuracies of which some are measured otherwise"));
      }
    }
    row.push_back(cell);
  }
}

/// Leaves rows that have a number beyond the first `columns`.
void drop_empty_rows(std::size_t columns, Table& table) {
  std::erase_if(table.rows, [&](const auto& row) {
    return std::none_of(row.begin() + static_cast<std::ptrdiff_t>(columns), row.end(),
                        [](const Cell& cell) { return cell.value.has_value(); });
  });
}

}  // namespace

Table main_table(const Comparison& comparison, const TableOptions& options) {
  Table table{.id = "main", .caption = "Perplexity and accuracy, with standard errors"};
  add_model_columns(table);
  for (const ModelEntry& model : comparison.models()) table.rows.push_back(model_cells(model));
  const std::size_t first = table.columns.size();
  for (const std::string& text : comparison.texts()) {
    table.columns.push_back({.name = text, .group = "perplexity", .better = Better::kLower});
    std::vector<const Settings*> settings;
    for (std::size_t m = 0; m < comparison.models().size(); ++m) {
      const PerplexityRecord* record = comparison.models()[m].find_text(text);
      settings.push_back(record == nullptr ? nullptr : &record->settings);
      table.rows[m].push_back(
          record == nullptr ? Cell{} : number_cell(record->ppl.value, record->ppl.error));
    }
    note_differences(settings, column_cells(table, table.columns.size() - 1), table);
  }
  const std::size_t tasks = table.columns.size();
  std::string normalised;
  std::string plain;
  for (const KnownTask& known : kZeroShotTasks) {
    std::string metric;
    if (!add_task(comparison, known, "accuracy, %", options.accuracy, table, &metric)) continue;
    std::string& names = metric == "acc_norm" ? normalised : plain;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  add_average(tasks, table);
  add_task(comparison, {"mmlu", "MMLU"}, "", options.accuracy, table);
  drop_empty_rows(first, table);
  mark_best(table);
  table.remark = "bits: a weight of the matrices that methods replace, scales included.";
  if (!normalised.empty()) {
    table.remark +=
        fmt::format(" Accuracy is acc_norm (likelihood per character) of {}, as in OneBit's tables",
                    normalised);
    table.remark += plain.empty() ? "." : fmt::format(", and acc of {}.", plain);
  } else if (!plain.empty()) {
    table.remark += fmt::format(" Accuracy is acc of {}.", plain);
  }
  return table;
}

Table mmlu_table(const Comparison& comparison) {
  Table table{.id = "mmlu",
              .caption = "MMLU by category, accuracy in percent with standard errors"};
  add_model_columns(table);
  for (const ModelEntry& model : comparison.models()) table.rows.push_back(model_cells(model));
  const std::size_t first = table.columns.size();
  for (const KnownTask& known : kMmluGroups) {
    add_task(comparison, known, "", Accuracy::kAcc, table);
  }
  drop_empty_rows(first, table);
  mark_best(table);
  return table;
}

std::string task_name(const std::string& task) {
  for (const KnownTask& known : kZeroShotTasks) {
    if (task == known.id) return known.name;
  }
  constexpr KnownTask kOthers[] = {
      {"mmlu", "MMLU"}, {"openbookqa", "OpenBookQA"}, {"lambada_openai", "LAMBADA"}};
  for (const KnownTask& known : kOthers) {
    if (task == known.id) return known.name;
  }
  for (const KnownTask& known : kMmluGroups) {
    if (task == known.id) return fmt::format("MMLU {}", known.name);
  }
  return task;
}

std::string accuracy_metric(const TaskScore& task, Accuracy accuracy) {
  if (accuracy == Accuracy::kAccNorm && task.find("acc_norm") != nullptr) return "acc_norm";
  return task.find("acc") == nullptr ? "" : "acc";
}

bool is_share(const std::string& metric) {
  return metric.starts_with("acc") || metric.starts_with("exact_match") || metric == "f1";
}

bool is_mmlu_subject(const TaskScore& task) {
  if (!task.task.starts_with("mmlu_")) return false;
  return std::none_of(std::begin(kMmluGroups), std::end(kMmluGroups),
                      [&](const KnownTask& group) { return task.task == group.id; });
}

}  // namespace onebit::report
