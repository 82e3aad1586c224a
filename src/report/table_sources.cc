// What made each number.
#include <ctime>
#include <fmt/format.h>

#include "report/tables.h"

namespace onebit::report {
namespace {

/// "2025-03-02 23:52", in UTC.
std::string date_words(const std::optional<std::int64_t>& seconds) {
  if (!seconds) return {};
  const std::time_t time = *seconds;
  std::tm parts = {};
  if (::gmtime_r(&time, &parts) == nullptr) return {};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min);
}

std::string words(const Settings& settings) {
  std::string text;
  for (const auto& [name, value] : settings) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

struct SettingsWords {
  std::string operator()(const PerplexityRecord& r) const {
    return fmt::format("{}; {}", r.text, words(r.settings));
  }
  std::string operator()(const SensitivityRecord& r) const {
    return fmt::format("{}; {}", r.text, words(r.settings));
  }
  std::string operator()(const TrainingRun& r) const { return words(r.recipe); }
  template <class Other>
  std::string operator()(const Other& r) const {
    return words(r.settings);
  }
};

}  // namespace

Table sources_table(const Comparison& comparison) {
  Table table{.id = "sources", .caption = "What made each number"};
  table.folded = true;
  table.columns = {{.name = "file", .words = true},
                   {.name = "holds", .words = true},
                   {.name = "of", .words = true},
                   {.name = "program", .words = true},
                   {.name = "date, UTC", .words = true},
                   {.name = "model's sha256", .words = true, .code = true},
                   {.name = "data and settings", .words = true},
                   {.name = "command", .words = true, .code = true}};
  for (const Source& source : comparison.sources()) {
    const Origin& origin = origin_of(*source.record);
    const ModelInfo* model = model_of(*source.record);
    table.rows.push_back(
        {text_cell(origin.file), text_cell(kind_of(*source.record)), text_cell(source.name),
         text_cell(origin.program), text_cell(date_words(origin.date)),
         text_cell(model == nullptr ? "" : short_hash(model->sha256)),
         text_cell(std::visit(SettingsWords{}, *source.record)), text_cell(origin.command)});
  }
  return table;
}

}  // namespace onebit::report
