// A table in GitHub's Markdown.
#include <fmt/format.h>

#include "report/markup.h"
#include "report/table.h"

namespace onebit::report {
namespace {

std::string heading(const Column& column) {
  const std::string name =
      column.group.empty() ? column.name : fmt::format("{}: {}", column.group, column.name);
  return markdown_text(name);
}

std::string body_cell(const Column& column, const Cell& cell) {
  std::string text = markdown_text(cell.text);
  if (text.empty() && cell.value) text = number_text(*cell.value, column.digits);
  if (cell.best) text = fmt::format("**{}**", text);
  if (cell.value && cell.error) {
    text += fmt::format(" ± {}", error_text(*cell.error, *cell.value, column.digits));
  }
  for (const std::size_t note : cell.notes) text += fmt::format(" <sup>{}</sup>", note_sign(note));
  return text;
}

}  // namespace

std::string table_markdown(const Table& table) {
  std::string names;
  std::string rule;
  for (const Column& column : table.columns) {
    names += fmt::format("| {} ", heading(column));
    rule += column.words ? "|---" : "|---:";
  }
  std::string text = fmt::format("{}.\n\n{}|\n{}|\n", markdown_text(table.caption), names, rule);
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      text += fmt::format("| {} ", body_cell(table.columns[c], row[c]));
    }
    text += "|\n";
  }
  if (!table.notes.empty()) text += "\n";
  for (std::size_t i = 0; i < table.notes.size(); ++i) {
    text += fmt::format("- <sup>{}</sup> {}\n", note_sign(i), markdown_text(table.notes[i]));
  }
  if (!table.remark.empty()) text += fmt::format("\n{}\n", markdown_text(table.remark));
  return text;
}

}  // namespace onebit::report
