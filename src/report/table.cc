#include "report/table.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "base/check.h"

namespace onebit::report {
namespace {

/// By setting, what most rows have of it; the first row's of equally many.
Settings usual(const std::vector<const Settings*>& rows) {
  std::map<std::string, std::vector<std::pair<std::string, int>>> counts;
  for (const Settings* settings : rows) {
    if (settings == nullptr) continue;
    for (const auto& setting : *settings) {
      const std::string& value = setting.second;
      auto& values = counts[setting.first];
      const auto found = std::find_if(values.begin(), values.end(),
                                      [&](const auto& known) { return known.first == value; });
      if (found == values.end()) {
        values.emplace_back(value, 1);
      } else {
        ++found->second;
      }
    }
  }
  Settings result;
  for (const auto& [name, values] : counts) {
    result[name] = std::max_element(values.begin(), values.end(), [](const auto& a, const auto& b) {
                     return a.second < b.second;
                   })->first;
  }
  return result;
}

}  // namespace

std::size_t Table::note(const std::string& text) {
  const auto found = std::find(notes.begin(), notes.end(), text);
  if (found != notes.end()) return static_cast<std::size_t>(found - notes.begin());
  notes.push_back(text);
  return notes.size() - 1;
}

Cell text_cell(std::string text) {
  Cell cell;
  cell.text = std::move(text);
  return cell;
}

Cell number_cell(std::optional<double> value, std::optional<double> error) {
  Cell cell;
  cell.value = value;
  cell.error = error;
  return cell;
}

std::vector<Cell*> column_cells(Table& table, std::size_t column) {
  std::vector<Cell*> cells;
  for (auto& row : table.rows) cells.push_back(&row[column]);
  return cells;
}

std::vector<Cell*> row_cells(Table& table, std::size_t row, std::size_t first) {
  std::vector<Cell*> cells;
  for (std::size_t c = first; c < table.rows[row].size(); ++c) cells.push_back(&table.rows[row][c]);
  return cells;
}

void mark_best(const std::vector<Cell*>& cells, Better better) {
  if (better == Better::kNeither) return;
  std::vector<Cell*> candidates;
  for (Cell* cell : cells) {
    if (cell->value && cell->comparable && std::isfinite(*cell->value)) candidates.push_back(cell);
  }
  if (candidates.size() < 2) return;
  const auto [least, most] =
      std::minmax_element(candidates.begin(), candidates.end(),
                          [](const Cell* a, const Cell* b) { return *a->value < *b->value; });
  const double best = *(better == Better::kLower ? *least : *most)->value;
  for (Cell* cell : candidates) cell->best = *cell->value == best;
}

void mark_best(Table& table) {
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    mark_best(column_cells(table, c), table.columns[c].better);
  }
}

bool note_differences(const std::vector<const Settings*>& settings, const std::vector<Cell*>& cells,
                      Table& table) {
  ONEBIT_CHECK(settings.size() == cells.size());
  const Settings most = usual(settings);
  bool any = false;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    if (settings[i] == nullptr) continue;
    std::string text;
    for (const auto& [name, value] : *settings[i]) {
      if (value == most.at(name)) continue;
      text +=
          fmt::format("{}{} {} (others: {})", text.empty() ? "" : "; ", name, value, most.at(name));
    }
    if (text.empty()) continue;
    cells[i]->notes.push_back(table.note("measured otherwise: " + text));
    cells[i]->comparable = false;
    any = true;
  }
  return any;
}

namespace {

constexpr double kExponent = 1e6;  // from here on values have one
constexpr double kWhole = 1e4;     // from here on what is after the point says nothing

}  // namespace

std::string number_text(double value, int digits) {
  if (!std::isfinite(value)) return std::isnan(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const double size = std::fabs(value);
  std::string text = size >= kExponent ? fmt::format("{:.2e}", size)
                     : size >= kWhole  ? fmt::format("{:.0f}", size)
                                       : fmt::format("{:.{}f}", size, digits);
  const bool zero = text.find_first_not_of("0.") == std::string::npos;
  return value < 0 && !zero ? "−" + text : text;
}

std::string error_text(double error, double value, int digits) {
  return number_text(error, std::fabs(value) >= kWhole ? 0 : digits);
}

std::string note_sign(std::size_t note) {
  constexpr std::size_t kLetters = 26;
  std::string sign;
  for (std::size_t n = note + 1; n > 0; n = (n - 1) / kLetters) {
    sign.insert(sign.begin(), static_cast<char>('a' + (n - 1) % kLetters));
  }
  return sign;
}

}  // namespace onebit::report
