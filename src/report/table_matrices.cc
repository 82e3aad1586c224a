// What matrices cost: their errors when a model is quantised, and the divergence when one alone is.
#include <fmt/format.h>

#include "report/names.h"
#include "report/sensitivity.h"
#include "report/tables.h"

namespace onebit::report {
namespace {

/// Rows by name, each with an empty cell a column but the first.
class Grid {
 public:
  explicit Grid(Table& table) : table_(table) {}

  Cell& at(const std::string& row, std::size_t column) {
    const std::size_t r = names_.add(row);
    if (r == table_.rows.size()) {
      table_.rows.emplace_back(table_.columns.size());
      table_.rows.back().front() = text_cell(row);
    }
    return table_.rows[r][column + 1];
  }

 private:
  Table& table_;
  Names names_;
};

/// Two tables of one record: means by the kind of matrix, and all matrices.
void add_sensitivity(const ModelEntry& model, const SensitivityRecord& record,
                     std::vector<Table>& tables) {
  constexpr int kDigits = 5;
  const std::string number = fmt::format("{}", tables.size() / 2 + 1);
  const std::string caption =
      fmt::format("Divergence of {} when one matrix alone is quantised, nats a token", model.name);
  const SensitivityGrid grid(record);
  Table kinds{.id = "sensitivity_kinds_" + number, .caption = caption + ", mean by kind of matrix"};
  kinds.columns = {{.name = "matrices", .words = true}};
  for (const std::string& method : grid.methods()) {
    kinds.columns.push_back({.name = method, .digits = kDigits});
  }
  if (!record.text.empty()) kinds.remark = fmt::format("Text: {}.", file_name(record.text));
  Table all = kinds;
  all.id = "sensitivity_" + number;
  all.caption = caption;
  all.columns.front().name = "matrix";
  all.folded = true;

  Grid kind_cells(kinds);
  Grid all_cells(all);
  std::map<std::pair<std::string, std::size_t>, std::pair<double, double>> sums;
  for (std::size_t i = 0; i < record.rows.size(); ++i) {
    const SensitivityRow& row = record.rows[i];
    const std::size_t method = grid.method_of(i);
    all_cells.at(row.matrix, method) = number_cell(row.kl.value, row.kl.error);
    auto& [sum, count] = sums[{row.role, method}];
    sum += row.kl.value;
    count += 1;
    kind_cells.at(row.role, method) = number_cell(sum / count);
  }
  tables.push_back(std::move(kinds));
  tables.push_back(std::move(all));
}

}  // namespace

Table matrices_table(const Comparison& comparison) {
  Table table{.id = "matrices",
              .caption = "Relative error of each matrix, |W − W′|² / |W|² in Frobenius norms"};
  table.folded = true;
  table.columns = {{.name = "matrix", .words = true}};
  constexpr int kDigits = 4;
  std::vector<const QuantizeRecord*> records;
  for (const ModelEntry& model : comparison.models()) {
    if (model.quantize == nullptr) continue;
    records.push_back(model.quantize);
    table.columns.push_back({.name = model.name, .digits = kDigits});
  }
  Grid cells(table);
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (const MatrixError& matrix : records[i]->matrices) {
      cells.at(matrix.matrix, i) = number_cell(matrix.relative_error);
    }
  }
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    mark_best(row_cells(table, r, 1), Better::kLower);
  }
  return table;
}

std::vector<Table> sensitivity_tables(const Comparison& comparison) {
  std::vector<Table> tables;
  for (const ModelEntry& model : comparison.models()) {
    for (const SensitivityRecord* record : model.sensitivities) {
      add_sensitivity(model, *record, tables);
    }
  }
  return tables;
}

}  // namespace onebit::report
