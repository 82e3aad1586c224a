// How a file's text becomes the one string that perplexity tokenises.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/lines.h"
#include "eval/perplexity.h"

namespace onebit::eval {
namespace {

constexpr std::string_view kRowSeparator = "\n\n";

void append_row(std::string& text, std::string_view row, bool first) {
  if (!first) text += kRowSeparator;
  text += row;
}

std::string join_wikitext(std::string_view content) {
  std::string text;
  text.reserve(content.size() * 2);
  for (bool first = true; !content.empty(); first = false) {
    const std::string_view line = take_line(content);
    append_row(text, is_blank(line) ? "" : line, first);
  }
  return text;
}

std::string join_jsonl(std::string_view file_name, std::string_view content) {
  std::string text;
  text.reserve(content.size());
  bool first = true;
  for (std::int64_t number = 1; !content.empty(); ++number) {
    const std::string_view line = take_line(content);
    if (is_blank(line)) continue;
    const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) {
      throw Error(ErrorCode::kCorrupt, fmt::format("{}, line {}: found text that is not JSON, "
                                                   "expected one object a line",
                                                   file_name, number));
    }
    const auto row = object.is_object() ? object.find("text") : object.end();
    if (row == object.end() || !row->is_string()) {
      throw Error(
          ErrorCode::kCorrupt,
          fmt::format("{}, line {}: found {}, expected an object with a string \"text\"", file_name,
                      number, object.is_object() ? "an object without it" : object.type_name()));
    }
    append_row(text, row->get_ref<const std::string&>(), first);
    first = false;
  }
  return text;
}

}  // namespace

Rows rows_of(std::string_view file_name, Rows rows, Protocol protocol) {
  if (rows != Rows::kAuto) return rows;
  if (file_name.ends_with(".raw") && protocol == Protocol::kPaper) return Rows::kWikitext;
  if (file_name.ends_with(".jsonl")) return Rows::kJsonl;
  return Rows::kWhole;
}

std::string join_rows(std::string_view file_name, std::string_view content, Rows rows,
                      Protocol protocol) {
  switch (rows_of(file_name, rows, protocol)) {
    case Rows::kWikitext:
      return join_wikitext(content);
    case Rows::kJsonl:
      return join_jsonl(file_name, content);
    case Rows::kAuto:
    case Rows::kWhole:
      break;
  }
  if (protocol == Protocol::kLlamaCpp && content.ends_with('\n')) content.remove_suffix(1);
  return std::string(content);
}

}  // namespace onebit::eval
