// Training runs: what tells them apart, and how far they came.
#include <algorithm>
#include <cmath>

#include "report/tables.h"

namespace onebit::report {
namespace {

/// The settings in which runs differ, in order of their names.
std::vector<std::string> differing_settings(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const RunEntry& run : comparison.runs()) {
    for (const auto& [name, value] : run.run->recipe) {
      for (const RunEntry& other : comparison.runs()) {
        const auto found = other.run->recipe.find(name);
        if (found != other.run->recipe.end() && found->second != value) {
          names.push_back(name);
          break;
        }
      }
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  constexpr std::size_t kMostColumns = 8;
  if (names.size() > kMostColumns) names.resize(kMostColumns);
  return names;
}

struct Span {
  std::optional<double> first;
  std::optional<double> last;
};

Span span_of(const TrainingRun& run, const std::string& metric) {
  Span span;
  for (const MetricsRow& row : run.rows) {
    const auto found = row.metrics.find(metric);
    if (found == row.metrics.end()) continue;
    if (!span.first) span.first = found->second;
    span.last = found->second;
  }
  return span;
}

Cell perplexity_cell(const std::optional<double>& cross_entropy) {
  return cross_entropy ? number_cell(std::exp(*cross_entropy)) : Cell{};
}

}  // namespace

Table runs_table(const Comparison& comparison) {
  Table table{.id = "runs", .caption = "Training runs, judged on their held-out text"};
  table.columns = {{.name = "run", .words = true}};
  const std::vector<std::string> settings = differing_settings(comparison);
  for (const std::string& name : settings) table.columns.push_back({.name = name, .words = true});
  constexpr int kDigits = 4;
  const Column columns[] = {{.name = "steps", .digits = 0},
                            {.name = "at start", .group = "KL, nats a token", .digits = kDigits},
                            {.name = "at the end",
                             .group = "KL, nats a token",
                             .better = Better::kLower,
                             .digits = kDigits},
                            {.name = "at the end", .group = "perplexity", .better = Better::kLower},
                            {.name = "of the teacher", .group = "perplexity"}};
  table.columns.insert(table.columns.end(), std::begin(columns), std::end(columns));
  for (const RunEntry& entry : comparison.runs()) {
    std::vector<Cell> row = {text_cell(entry.name)};
    for (const std::string& name : settings) {
      const auto found = entry.run->recipe.find(name);
      row.push_back(text_cell(found == entry.run->recipe.end() ? "" : found->second));
    }
    double steps = 0;
    for (const MetricsRow& metrics : entry.run->rows) steps = std::max(steps, metrics.step);
    const Span kl = span_of(*entry.run, "held_out_kl");
    row.push_back(number_cell(steps));
    row.push_back(number_cell(kl.first));
    row.push_back(number_cell(kl.last));
    row.push_back(perplexity_cell(span_of(*entry.run, "held_out_cross_entropy").last));
    row.push_back(perplexity_cell(span_of(*entry.run, "held_out_teacher_cross_entropy").last));
    table.rows.push_back(std::move(row));
  }
  // Only what was judged on the same text is comparable: as many tokens, and as good a teacher.
  std::vector<Settings> judged;
  for (const RunEntry& entry : comparison.runs()) {
    judged.emplace_back();
    for (const char* name : {"held_out_tokens", "held_out_teacher_cross_entropy"}) {
      if (const auto last = span_of(*entry.run, name).last)
        judged.back()[name] = number_text(*last, 6);
    }
  }
  std::vector<const Settings*> pointers;
  pointers.reserve(judged.size());
  for (const Settings& own : judged) pointers.push_back(&own);
  for (std::size_t c = settings.size() + 2; c + 1 < table.columns.size(); ++c) {
    note_differences(pointers, column_cells(table, c), table);
  }
  mark_best(table);
  return table;
}

}  // namespace onebit::report
