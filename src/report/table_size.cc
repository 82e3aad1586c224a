// How small a model is beside its 16-bit form, as OneBit's table of compression ratios has it.
#include "report/tables.h"

namespace onebit::report {

Table size_table(const Comparison& comparison) {
  Table table{.id = "size", .caption = "Size and compression"};
  table.remark =
      "The 16-bit form has two bytes a parameter; the ratio is its size over the file's. Tokenizer "
      "and metadata count as part of the file.";
  table.columns = {
      {.name = "model", .words = true},
      {.name = "method", .words = true},
      {.name = "parameters, millions", .digits = 1},
      {.name = "file, MB", .better = Better::kLower, .digits = 1},
      {.name = "matrices", .group = "bits per weight", .better = Better::kLower, .digits = 3},
      {.name = "whole file", .group = "bits per weight", .better = Better::kLower, .digits = 3},
      {.name = "16-bit form, MB", .digits = 1},
      {.name = "ratio", .better = Better::kHigher, .digits = 2},
      {.name = "of the 16-bit form, %", .better = Better::kLower, .digits = 1}};
  constexpr double kMillion = 1e6;
  for (const ModelEntry& model : comparison.models()) {
    const ModelInfo& info = model.info;
    if (!info.file_bytes) continue;
    std::vector<Cell> row(table.columns.size());
    row[0] = text_cell(model.name);
    row[1] = text_cell(info.method);
    const auto bytes = static_cast<double>(*info.file_bytes);
    row[3] = number_cell(bytes / kMillion);
    row[4] = number_cell(info.matrix_bits);
    row[5] = number_cell(info.file_bits);
    if (info.parameters && *info.parameters > 0 && bytes > 0) {
      const auto parameters = static_cast<double>(*info.parameters);
      row[2] = number_cell(parameters / kMillion);
      row[6] = number_cell(2 * parameters / kMillion);
      row[7] = number_cell(2 * parameters / bytes);
      row[8] = number_cell(100 * bytes / (2 * parameters));
    }
    table.rows.push_back(std::move(row));
  }
  mark_best(table);
  return table;
}

}  // namespace onebit::report
