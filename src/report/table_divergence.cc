// How far models are from their teacher, by text.
#include "report/tables.h"

namespace onebit::report {

Table divergence_table(const Comparison& comparison) {
  Table table{.id = "divergence",
              .caption = "Divergence from a teacher, KL(teacher ‖ model) in nats a token"};
  table.columns = {{.name = "model", .words = true}, {.name = "teacher", .words = true}};
  constexpr int kDigits = 4;
  for (const std::string& text : comparison.texts()) {
    table.columns.push_back(
        {.name = "mean", .group = text, .better = Better::kLower, .digits = kDigits});
    table.columns.push_back(
        {.name = "99th percentile", .group = text, .better = Better::kLower, .digits = kDigits});
    table.columns.push_back(
        {.name = "same top token, %", .group = text, .better = Better::kHigher, .digits = 1});
  }
  // A cell's settings, its teacher among them, by column of means.
  std::vector<std::vector<Settings>> settings;
  for (const ModelEntry& model : comparison.models()) {
    std::vector<Cell> row = {text_cell(model.name), {}};
    std::vector<Settings> own;
    bool any = false;
    for (const std::string& text : comparison.texts()) {
      const PerplexityRecord* record = model.find_text(text);
      own.emplace_back();
      row.resize(row.size() + 3);
      if (record == nullptr || !record->kl) continue;
      const Divergence& kl = *record->kl;
      any = true;
      row[1].text = file_name(kl.teacher);
      own.back() = record->settings;
      own.back()["teacher"] = file_name(kl.teacher);
      row[row.size() - 3] = number_cell(kl.mean.value, kl.mean.error);
      row[row.size() - 2] = number_cell(kl.p99);
      if (kl.same_top) row[row.size() - 1] = number_cell(100 * *kl.same_top);
    }
    if (!any) continue;
    table.rows.push_back(std::move(row));
    settings.push_back(std::move(own));
  }
  for (std::size_t text = 0; text < comparison.texts().size(); ++text) {
    std::vector<const Settings*> column;
    column.reserve(settings.size());
    for (const auto& own : settings) column.push_back(own[text].empty() ? nullptr : &own[text]);
    for (std::size_t c = 2 + 3 * text; c < 5 + 3 * text; ++c) {
      note_differences(column, column_cells(table, c), table);
    }
  }
  mark_best(table);
  return table;
}

}  // namespace onebit::report
