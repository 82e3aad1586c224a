// A table in HTML: captioned, with scopes for screen readers, in a box of its own that scrolls
// where the page is narrower.
#include <algorithm>
#include <fmt/format.h>

#include "report/markup.h"
#include "report/table.h"

namespace onebit::report {
namespace {

std::string heading(const Column& column, const std::string& attributes) {
  const char* arrow = "";
  if (column.better == Better::kLower) {
    arrow = " <span class=\"better\" role=\"img\" aria-label=\"lower is better\">↓</span>";
  } else if (column.better == Better::kHigher) {
    arrow = " <span class=\"better\" role=\"img\" aria-label=\"higher is better\">↑</span>";
  }
  constexpr std::size_t kShort = 14;  // bytes of a name that is not broken at its hyphens
  const std::string name =
      fmt::format("<span class=\"{}\">{}</span>", column.name.size() <= kShort ? "short" : "long",
                  html_text(column.name));
  return fmt::format("<th scope=\"col\"{}{}>{}{}</th>", attributes,
                     column.words ? " class=\"words\"" : "", name, arrow);
}

/// One row of headings, or two where columns have groups.
std::string head(const std::vector<Column>& columns) {
  const bool grouped =
      std::any_of(columns.begin(), columns.end(), [](const Column& c) { return !c.group.empty(); });
  std::string first;
  std::string second;
  for (std::size_t i = 0; i < columns.size();) {
    if (columns[i].group.empty()) {
      first += heading(columns[i], grouped ? " rowspan=\"2\"" : "");
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < columns.size() && columns[end].group == columns[i].group) {
      second += heading(columns[end++], "");
    }
    first += fmt::format("<th scope=\"colgroup\" colspan=\"{}\">{}</th>", end - i,
                         html_text(columns[i].group));
    i = end;
  }
  if (second.empty()) return fmt::format("<tr>{}</tr>", first);
  return fmt::format("<tr>{}</tr>\n<tr>{}</tr>", first, second);
}

std::string body_cell(const Table& table, const Cell& cell, std::size_t c) {
  const Column& column = table.columns[c];
  std::string text = html_text(cell.text);
  if (text.empty() && cell.value) text = html_text(number_text(*cell.value, column.digits));
  if (cell.best) text = fmt::format("<strong>{}</strong>", text);
  if (column.code && !text.empty()) text = fmt::format("<code>{}</code>", text);
  for (const std::size_t note : cell.notes) {
    text += fmt::format("<sup><a href=\"#{0}-note-{1}\" aria-label=\"note {1}\">{1}</a></sup>",
                        table.id, note_sign(note));
  }
  if (cell.value && cell.error) {
    text += fmt::format(" <span class=\"error\">± {}</span>",
                        html_text(error_text(*cell.error, *cell.value, column.digits)));
  }
  if (text.empty()) text = "<span class=\"none\" aria-label=\"none\">–</span>";
  if (c == 0) return fmt::format("<th scope=\"row\">{}</th>", text);
  return fmt::format("<td{}>{}</td>", column.words ? " class=\"words\"" : "", text);
}

}  // namespace

std::string table_html(const Table& table) {
  constexpr std::size_t kWide = 8;  // columns: errors then stand below their values
  std::string html = fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{0}-caption\">\n"
      "<table id=\"{0}\"{3}>\n<caption><span "
      "id=\"{0}-caption\">{1}.</span></caption>\n<thead>\n{2}\n</thead>\n"
      "<tbody>\n",
      table.id, html_text(table.caption), head(table.columns),
      table.columns.size() > kWide ? " class=\"wide\"" : "");
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) html += body_cell(table, row[c], c);
    html += "</tr>\n";
  }
  html += "</tbody>\n</table>\n</div>\n";
  if (!table.notes.empty()) {
    html += "<ol class=\"notes\">\n";
    for (std::size_t i = 0; i < table.notes.size(); ++i) {
      html += fmt::format("<li id=\"{}-note-{}\">{}</li>\n", table.id, note_sign(i),
                          html_text(table.notes[i]));
    }
    html += "</ol>\n";
  }
  if (!table.remark.empty()) {
    html += fmt::format("<p class=\"remark\">{}</p>\n", html_text(table.remark));
  }
  if (!table.folded) return html;
  return fmt::format("<details>\n<summary>{} ({} rows)</summary>\n{}</details>\n",
                     html_text(table.caption), table.rows.size(), html);
}

}  // namespace onebit::report
