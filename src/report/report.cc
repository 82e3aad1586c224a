#include "report/report.h"

#include <fmt/format.h>
#include <set>

#include "report/figures.h"
#include "report/markup.h"

namespace onebit::report {
namespace {

/// Adds what a comparison has of a section.
class Builder {
 public:
  explicit Builder(Report& report) : report_(report) {}

  void section(const char* title, std::vector<Figure> figures, std::vector<Table> tables) {
    std::erase_if(tables, [](const Table& table) { return table.rows.empty(); });
    if (figures.empty() && tables.empty()) return;
    for (const Table& table : tables) warn_of(table);
    for (Figure& figure : figures) {
      // Texts of unlike names may have like elements.
      const std::string id = figure.id;
      for (int n = 2; !ids_.insert(figure.id).second; ++n) figure.id = fmt::format("{}_{}", id, n);
    }
    report_.sections.push_back({title, std::move(figures), std::move(tables)});
  }

 private:
  /// What no reader should miss.
  void warn_of(const Table& table) {
    std::size_t cells = 0;
    for (const auto& row : table.rows) {
      for (const Cell& cell : row) cells += cell.comparable ? 0 : 1;
    }
    if (cells == 0) return;
    report_.warnings.push_back(fmt::format(
        "{}: {} measured otherwise than most of {} neighbours, as notes there say, and left out "
        "when "
        "the best is chosen",
        table.caption, cells == 1 ? "1 number is" : fmt::format("{} numbers are", cells),
        cells == 1 ? "its" : "their"));
  }

  Report& report_;
  std::set<std::string> ids_;
};

}  // namespace

std::size_t Report::figure_count() const {
  std::size_t count = 0;
  for (const Section& section : sections) count += section.figures.size();
  return count;
}

std::size_t Report::table_count() const {
  std::size_t count = 0;
  for (const Section& section : sections) count += section.tables.size();
  return count;
}

Report build_report(const Comparison& comparison, const TableOptions& options, std::string title,
                    std::string program) {
  Report report{
      .title = std::move(title), .program = std::move(program), .warnings = comparison.warnings()};
  Builder builder(report);
  builder.section("Sources", {}, {sources_table(comparison)});
  builder.section("Results", {}, {main_table(comparison, options)});
  builder.section("Perplexity by size", perplexity_figures(comparison), {size_table(comparison)});
  builder.section("Divergence", {}, {divergence_table(comparison)});
  builder.section("Tasks", task_figures(comparison, options),
                  {mmlu_table(comparison), paired_table(comparison, options),
                   tasks_table(comparison, false), tasks_table(comparison, true)});
  builder.section("Speed", speed_figures(comparison), {speed_table(comparison)});
  builder.section("Training", run_figures(comparison), {runs_table(comparison)});
  builder.section("Layers", layer_figures(comparison), {matrices_table(comparison)});
  builder.section("Sensitivity", sensitivity_figures(comparison), sensitivity_tables(comparison));
  return report;
}

std::string report_markdown(const Report& report) {
  std::string text = fmt::format("# {}\n\nWritten by {}.\n", markdown_text(report.title),
                                 markdown_text(report.program));
  if (!report.warnings.empty()) text += "\n";
  for (const std::string& warning : report.warnings) {
    text += fmt::format("- **Before you compare:** {}.\n", markdown_text(warning));
  }
  for (const Section& section : report.sections) {
    if (section.tables.empty()) continue;
    text += fmt::format("\n## {}\n", section.title);
    for (const Table& table : section.tables) text += fmt::format("\n{}", table_markdown(table));
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> report_csv(const Report& report) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const Section& section : report.sections) {
    for (const Table& table : section.tables) {
      files.emplace_back(table.id + ".csv", table_csv(table));
    }
  }
  return files;
}

}  // namespace onebit::report
