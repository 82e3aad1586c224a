// The members of a JSON object out of somebody's file, with errors that say where in it something
// is missing or of the wrong type.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace onebit::report {

/// Keeps the order of a file's members: tasks are shown in it.
using Json = nlohmann::ordered_json;

/// An object and its place. Every method throws Error{kCorrupt}, "FILE: results.piqa: …", for what
/// is not as asked for; a member that is null counts as absent.
class Fields {
 public:
  /// `place` is "FILE" or "FILE: member.member"; `value` outlives the object and must be an object.
  Fields(const Json& value, std::string place);

  const Json& json() const { return *value_; }
  const std::string& place() const { return place_; }

  /// Null where it is absent.
  const Json* find(const char* key) const;

  std::string text(const char* key) const;
  std::string text_or(const char* key, std::string_view absent) const;
  double number(const char* key) const;
  std::optional<double> maybe_number(const char* key) const;
  /// Whole numbers of at least 0 and below 2^53, also written with a fraction of 0.
  std::int64_t count(const char* key) const;
  std::optional<std::int64_t> maybe_count(const char* key) const;
  Fields object(const char* key) const;
  std::optional<Fields> maybe_object(const char* key) const;
  const Json& array(const char* key) const;

  /// The place of a member.
  std::string place_of(std::string_view key) const;
  [[noreturn]] void fail(std::string_view key, const Json* found, const char* expected) const;

 private:
  const Json& required(const char* key, const char* expected) const;

  const Json* value_;
  std::string place_;
};

}  // namespace onebit::report
