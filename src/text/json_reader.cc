// Checked JSON access.
#include "text/json_reader.h"

#include <fmt/format.h>
#include <limits>

#include "base/error.h"

namespace onebit::text {
namespace {

[[noreturn]] void wrong(std::string_view file, std::string_view where, std::string_view name,
                        const Json& found, std::string_view expected) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}{}{}: found {}, expected {}", file, where,
                                               where.empty() || name.empty() ? "" : " ", name,
                                               found.type_name(), expected));
}

}  // namespace

Json parse_json(std::string_view text, std::string_view file) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found {} bytes that are not a JSON object", file, text.size()));
  }
  return json;
}

const Json& member(const Json& json, const char* name) {
  static const Json null;
  if (!json.is_object()) return null;
  const auto it = json.find(name);
  return it == json.end() ? null : *it;
}

const Json& require_object(const Json& json, std::string_view file, std::string_view where) {
  if (!json.is_object()) wrong(file, where, "", json, "an object");
  return json;
}

const Json& require_array(const Json& json, const char* name, std::string_view file,
                          std::string_view where) {
  const Json& value = member(json, name);
  if (!value.is_array()) wrong(file, where, name, value, "an array");
  return value;
}

std::string require_string(const Json& json, const char* name, std::string_view file,
                           std::string_view where) {
  const Json& value = member(json, name);
  if (!value.is_string()) wrong(file, where, name, value, "a string");
  return value.get<std::string>();
}

TokenId require_id(const Json& json, const char* name, std::string_view file,
                   std::string_view where) {
  return to_id(member(json, name), file, where);
}

std::optional<bool> get_bool(const Json& json, const char* name, std::string_view file) {
  const Json& value = member(json, name);
  if (value.is_null()) return std::nullopt;
  if (!value.is_boolean()) wrong(file, "", name, value, "true or false");
  return value.get<bool>();
}

TokenId to_id(const Json& json, std::string_view file, std::string_view where) {
  if (!json.is_number_unsigned()) wrong(file, where, "", json, "a token id");
  const auto id = json.get<std::uint64_t>();
  if (id > static_cast<std::uint64_t>(std::numeric_limits<TokenId>::max())) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: {}: found {}, expected a token id of 31 bits", file, where, id));
  }
  return static_cast<TokenId>(id);
}

}  // namespace onebit::text
