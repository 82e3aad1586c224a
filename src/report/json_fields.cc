#include "report/json_fields.h"

#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "base/error.h"
#include "report/markup.h"

namespace onebit::report {
namespace {

constexpr std::size_t kMaxKey = 60;  // keys come out of files too

[[noreturn]] void fail_at(const std::string& place, const Json* found, const char* expected) {
  const std::string type = found == nullptr ? "nothing" : found->type_name();
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: found {}, expected {}", place, type, expected));
}

}  // namespace

Fields::Fields(const Json& value, std::string place) : value_(&value), place_(std::move(place)) {
  if (!value.is_object()) fail_at(place_, &value, "an object");
}

const Json* Fields::find(const char* key) const {
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::place_of(std::string_view key) const {
  // Only the file's name holds ": " before a member's name.
  const bool inside = place_.find(": ") != std::string::npos;
  return fmt::format("{}{}{}", place_, inside ? "." : ": ", shortened(clean_text(key), kMaxKey));
}

void Fields::fail(std::string_view key, const Json* found, const char* expected) const {
  fail_at(place_of(key), found, expected);
}

const Json& Fields::required(const char* key, const char* expected) const {
  const Json* found = find(key);
  if (found == nullptr) fail(key, nullptr, expected);
  return *found;
}

std::string Fields::text(const char* key) const {
  const Json& found = required(key, "a string");
  if (!found.is_string()) fail(key, &found, "a string");
  return found.get<std::string>();
}

std::string Fields::text_or(const char* key, std::string_view absent) const {
  return find(key) == nullptr ? std::string(absent) : text(key);
}

double Fields::number(const char* key) const {
  const Json& found = required(key, "a number");
  if (!found.is_number()) fail(key, &found, "a number");
  return found.get<double>();
}

std::optional<double> Fields::maybe_number(const char* key) const {
  if (find(key) == nullptr) return std::nullopt;
  return number(key);
}

std::int64_t Fields::count(const char* key) const {
  const Json& found = required(key, "a whole number");
  constexpr double kMost = 0x1p53;
  const double value = found.is_number() ? found.get<double>() : -1;
  if (!(value >= 0 && value < kMost) || value != std::floor(value)) {
    fail(key, &found, "a whole number");
  }
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> Fields::maybe_count(const char* key) const {
  if (find(key) == nullptr) return std::nullopt;
  return count(key);
}

Fields Fields::object(const char* key) const { return {required(key, "an object"), place_of(key)}; }

std::optional<Fields> Fields::maybe_object(const char* key) const {
  if (find(key) == nullptr) return std::nullopt;
  return object(key);
}

const Json& Fields::array(const char* key) const {
  const Json& found = required(key, "an array");
  if (!found.is_array()) fail(key, &found, "an array");
  return found;
}

}  // namespace onebit::report
