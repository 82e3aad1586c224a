#include "eval/row.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "eval/lines.h"
#include "text/quote.h"

namespace onebit::eval {
namespace {

using nlohmann::json;

/// What a message says of a value: short values themselves, of others the type.
std::string described(const json& value) {
  if (value.is_string()) return text::in_quotes(value.get_ref<const std::string&>());
  if (value.is_primitive()) return value.dump();
  return fmt::format("an {}", value.type_name());  // array, object
}

}  // namespace

Row::Row(std::shared_ptr<const json> object, std::string place)
    : object_(std::move(object)), place_(std::move(place)) {}

bool Row::has(const char* field) const { return object_->contains(field); }

bool Row::is_object(const char* field) const {
  return has(field) && object_->at(field).is_object();
}

void Row::fail(std::string_view field, std::string_view found, std::string_view expected) const {
  throw Error(ErrorCode::kCorrupt,
              fmt::format("{}: {}: found {}, expected {}", place_, field, found, expected));
}

void Row::fail_type(const char* field, const json& found, std::string_view expected) const {
  fail(field, described(found), expected);
}

const json& Row::value(const char* field, std::string_view expected) const {
  const auto it = object_->find(field);
  if (it == object_->end()) fail(field, "no such field", expected);
  return *it;
}

std::string Row::text(const char* field) const {
  const char* const expected = "a string";
  const json& found = value(field, expected);
  if (!found.is_string()) fail_type(field, found, expected);
  return found.get<std::string>();
}

std::vector<std::string> Row::texts(const char* field) const {
  const char* const expected = "an array of strings";
  const json& found = value(field, expected);
  if (!found.is_array()) fail_type(field, found, expected);
  std::vector<std::string> result;
  result.reserve(found.size());
  for (const json& element : found) {
    if (!element.is_string()) fail(field, described(element) + " in it", expected);
    result.push_back(element.get<std::string>());
  }
  return result;
}

Row Row::object(const char* field) const {
  const char* const expected = "an object";
  const json& found = value(field, expected);
  if (!found.is_object()) fail_type(field, found, expected);
  return {{object_, &found}, fmt::format("{}: {}", place_, field)};
}

std::vector<Row> Row::objects(const char* field) const {
  const char* const expected = "an array of objects";
  const json& found = value(field, expected);
  if (!found.is_array()) fail_type(field, found, expected);
  std::vector<Row> result;
  for (const json& element : found) {
    if (!element.is_object()) fail(field, described(element) + " in it", expected);
    result.emplace_back(std::shared_ptr<const json>(object_, &element),
                        fmt::format("{}: {}[{}]", place_, field, result.size()));
  }
  return result;
}

std::size_t Row::label(const char* field, std::size_t count, std::size_t first) const {
  const std::string expected = fmt::format("a number from {} to {}", first, first + count - 1);
  const json& found = value(field, expected);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t number = first + i;
    const bool same = found.is_string() ? found == fmt::format("{}", number)
                                        : found.is_number_integer() && found == number;
    if (same) return i;
  }
  fail_type(field, found, expected);
}

bool Row::truth(const char* field) const {
  const char* const expected = "true or false";
  const json& found = value(field, expected);
  if (found.is_boolean()) return found.get<bool>();
  if (found.is_number_integer() && (found == 0 || found == 1)) return found == 1;
  fail_type(field, found, expected);
}

bool Row::operator==(const Row& other) const { return *object_ == *other.object_; }

std::vector<Row> read_rows(std::string_view file, std::string_view content) {
  std::vector<Row> rows;
  for (std::int64_t line = 1; !content.empty(); ++line) {
    const std::string_view text = take_line(content);
    if (is_blank(text)) continue;
    std::string place = fmt::format("{}, line {}", file, line);
    auto object = std::make_shared<json>(json::parse(text, nullptr, /*allow_exceptions=*/false));
    if (object->is_object()) {
      rows.emplace_back(std::move(object), std::move(place));
      continue;
    }
    const std::string found = object->is_discarded() ? "text that is not JSON" : described(*object);
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: found {}, expected an object", place, found));
  }
  if (rows.empty()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found no rows, expected a JSON object a line", file));
  }
  return rows;
}

}  // namespace onebit::eval
