// A comparison as a document: sections of tables and figures, written as one HTML page, as
// Markdown, or as a CSV file a table.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "report/comparison.h"
#include "report/figure.h"
#include "report/tables.h"

namespace onebit::report {

struct Section {
  std::string title = {};
  std::vector<Figure> figures = {};
  std::vector<Table> tables = {};
};

struct Report {
  std::string title = {};
  std::string program = {};  ///< that writes it
  std::vector<std::string> warnings = {};
  std::vector<Section> sections = {};  ///< none is empty

  std::size_t figure_count() const;
  std::size_t table_count() const;
};

/// Everything that the inputs have. Deterministic: no date, no path of its own.
Report build_report(const Comparison& comparison, const TableOptions& options, std::string title,
                    std::string program);

/// Draws a figure's script: the text of an SVG picture.
using Draw = std::function<std::string(const Figure&)>;

/// One page that needs nothing else: no script, no font, no picture from elsewhere. Throws what
/// `draw` throws.
std::string report_html(const Report& report, const Draw& draw);

/// Without figures.
std::string report_markdown(const Report& report);

/// {"main.csv", its text} and so on.
std::vector<std::pair<std::string, std::string>> report_csv(const Report& report);

}  // namespace onebit::report
