// A table as comma-separated values, for programs.
#include <algorithm>
#include <fmt/format.h>

#include "report/markup.h"
#include "report/table.h"

namespace onebit::report {
namespace {

std::string note_words(const Table& table, const Cell& cell) {
  std::string text;
  for (const std::size_t note : cell.notes) {
    text += fmt::format("{}{}", text.empty() ? "" : "; ", table.notes[note]);
  }
  return text;
}

/// The shortest decimal number that reads back as the same one.
std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : std::string();
}

}  // namespace

std::string table_csv(const Table& table) {
  const auto any = [&](std::size_t column, const auto& has) {
    return std::any_of(table.rows.begin(), table.rows.end(),
                       [&](const auto& row) { return has(row[column]); });
  };
  std::vector<bool> errors;
  std::vector<bool> notes;
  std::vector<std::string> fields;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const Column& column = table.columns[c];
    const std::string name =
        column.group.empty() ? column.name : fmt::format("{}: {}", column.group, column.name);
    errors.push_back(any(c, [](const Cell& cell) { return cell.error.has_value(); }));
    notes.push_back(any(c, [](const Cell& cell) { return !cell.notes.empty(); }));
    fields.push_back(csv_text(name));
    if (errors[c]) fields.push_back(csv_text(fmt::format("{} {}", name, column.error_name)));
    if (notes[c]) fields.push_back(csv_text(name + " notes"));
  }
  std::string text = fmt::format("{}\r\n", fmt::join(fields, ","));
  for (const auto& row : table.rows) {
    fields.clear();
    for (std::size_t c = 0; c < row.size(); ++c) {
      fields.push_back(row[c].value ? number(row[c].value) : csv_text(row[c].text));
      if (errors[c]) fields.push_back(number(row[c].error));
      if (notes[c]) fields.push_back(csv_text(note_words(table, row[c])));
    }
    text += fmt::format("{}\r\n", fmt::join(fields, ","));
  }
  return text;
}

}  // namespace onebit::report
