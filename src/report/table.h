// A table as data, which table_html.cc, table_markdown.cc and table_csv.cc write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/records.h"

namespace onebit::report {

enum class Better : std::uint8_t { kNeither, kLower, kHigher };

/// A number with its error, or text; empty where there is neither. With both, people read the text,
/// and programs the number.
struct Cell {
  std::string text = {};
  std::optional<double> value = {};
  std::optional<double> error = {};
  std::vector<std::size_t> notes = {};  ///< of Table::notes
  bool comparable = true;               ///< measured as most of its neighbours were
  bool best = false;
};

struct Column {
  std::string name = {};
  std::string group = {};  ///< a heading over neighbours of the same; empty: none
  Better better = Better::kNeither;
  int digits = 2;                     ///< after the point
  bool words = false;                 ///< of text, not of numbers
  bool code = false;                  ///< of commands
  const char* error_name = "stderr";  ///< of the CSV column beside it
};

struct Table {
  std::string id = {};       ///< "main": also the CSV file's name
  std::string caption = {};  ///< a sentence without its stop
  std::string remark = {};   ///< what a reader needs beside it; empty: nothing
  std::vector<Column> columns = {};
  std::vector<std::vector<Cell>> rows = {};  ///< the first cell of each is its heading
  std::vector<std::string> notes = {};
  bool folded = false;  ///< long: shown when asked for

  /// The number of a note of this text, added where there is none yet.
  std::size_t note(const std::string& text);
};

Cell text_cell(std::string text);
Cell number_cell(std::optional<double> value, std::optional<double> error = std::nullopt);

/// The cells of a column; those of a row from column `first` on.
std::vector<Cell*> column_cells(Table& table, std::size_t column);
std::vector<Cell*> row_cells(Table& table, std::size_t row, std::size_t first);

/// Marks the best of the comparable values where there are two; equals are all best.
void mark_best(const std::vector<Cell*>& cells, Better better);

/// mark_best() of every column.
void mark_best(Table& table);

/// Adds a note to each of `cells` whose settings differ from those of most others; it is no longer
/// comparable. `settings[i]` is null where a cell has no measurement; what a file does not say
/// differs from nothing. Returns whether there was such a cell.
bool note_differences(const std::vector<const Settings*>& settings, const std::vector<Cell*>& cells,
                      Table& table);

/// A value as people read it: `digits` after the point, large ones without or with an exponent.
std::string number_text(double value, int digits);
/// The error of a value, as precise as the value is shown.
std::string error_text(double error, double value, int digits);

/// "a", "b", … "z", "aa": the sign of a note.
std::string note_sign(std::size_t note);

std::string table_html(const Table& table);
/// GitHub's Markdown, its caption and notes included.
std::string table_markdown(const Table& table);
/// RFC 4180 with full precision: beside a column with errors one of its `error_name`, "ppl stderr",
/// beside one with notes "ppl notes".
std::string table_csv(const Table& table);

}  // namespace onebit::report
