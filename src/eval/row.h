// The rows of a task's set: a JSON object a line, and checked access to their fields. Every error
// names file, line and field, since sets come from many hands.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::eval {

/// An object, or one that lies in a field of another. All accessors throw Error{kCorrupt}:
/// `piqa.validation.jsonl, line 3: goal: found null, expected a string`.
class Row {
 public:
  /// `object` is one; `place` is what errors begin with.
  Row(std::shared_ptr<const nlohmann::json> object, std::string place);

  bool has(const char* field) const;
  bool is_object(const char* field) const;

  std::string text(const char* field) const;
  std::vector<std::string> texts(const char* field) const;
  Row object(const char* field) const;
  std::vector<Row> objects(const char* field) const;

  /// A number from `first` to first + count - 1, or its digits as a string; the result counts from
  /// 0.
  std::size_t label(const char* field, std::size_t count, std::size_t first = 0) const;
  bool truth(const char* field) const;  ///< true or false, 1 or 0

  /// What is wrong with a field's value, where no accessor can know it.
  [[noreturn]] void fail(std::string_view field, std::string_view found,
                         std::string_view expected) const;

  /// The same fields with the same values.
  bool operator==(const Row& other) const;

 private:
  const nlohmann::json& value(const char* field, std::string_view expected) const;
  [[noreturn]] void fail_type(const char* field, const nlohmann::json& found,
                              std::string_view expected) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string place_;
};

/// `content` in JSON lines; blank lines are none. Throws Error{kCorrupt} for a line that is no
/// object, and for a file without a row. `file` is what errors call it.
std::vector<Row> read_rows(std::string_view file, std::string_view content);

}  // namespace onebit::eval
