// Tokens a second, models side by side by test and threads.
#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "report/tables.h"

namespace onebit::report {

Table speed_table(const Comparison& comparison) {
  Table table{.id = "speed", .caption = "Speed in tokens a second, with the deviation of a run"};
  table.remark =
      "pp512 reads a prompt of 512 tokens at once, tg128 generates 128 one by one. Numbers are "
      "comparable where one machine made them.";
  table.columns = {{.name = "model", .words = true}, {.name = "kernels", .words = true}};
  const std::size_t first = table.columns.size();
  std::vector<std::pair<std::string, std::int64_t>> tests;
  for (const ModelEntry& model : comparison.models()) {
    for (const BenchRecord* bench : model.benches) {
      for (const SpeedTest& test : bench->tests) {
        const std::pair<std::string, std::int64_t> key(test.name, test.threads);
        if (std::find(tests.begin(), tests.end(), key) == tests.end()) tests.push_back(key);
      }
    }
  }
  for (const auto& [name, threads] : tests) {
    table.columns.push_back(
        {.name = name,
         .group = threads == 1 ? "1 thread" : fmt::format("{} threads", threads),
         .better = Better::kHigher,
         .digits = 1,
         .error_name = "deviation"});
  }
  table.columns.push_back({.name = "peak memory, MB", .better = Better::kLower, .digits = 1});
  std::vector<const Settings*> settings;
  for (const ModelEntry& model : comparison.models()) {
    for (const BenchRecord* bench : model.benches) {
      std::vector<Cell> row(table.columns.size());
      row[0] = text_cell(model.name);
      const auto kernels = bench->settings.find("kernels");
      if (kernels != bench->settings.end()) row[1] = text_cell(kernels->second);
      for (const SpeedTest& test : bench->tests) {
        const auto place =
            std::find(tests.begin(), tests.end(), std::make_pair(test.name, test.threads));
        row[first + static_cast<std::size_t>(place - tests.begin())] =
            number_cell(test.rate, test.deviation);
      }
      if (bench->peak_bytes) {
        row.back() = number_cell(static_cast<double>(*bench->peak_bytes) / 1e6);
      }
      table.rows.push_back(std::move(row));
      settings.push_back(&bench->settings);
    }
  }
  for (std::size_t c = first; c < table.columns.size(); ++c) {
    std::vector<const Settings*> own;
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      own.push_back(table.rows[r][c].value ? settings[r] : nullptr);
    }
    note_differences(own, column_cells(table, c), table);
  }
  mark_best(table);
  return table;
}

}  // namespace onebit::report
