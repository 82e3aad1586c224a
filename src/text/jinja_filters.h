// Jinja's filters: {{ value|name(arguments) }}.
#pragma once

#include <string_view>

#include "text/jinja_call.h"

namespace onebit::text::jinja {

bool is_filter(std::string_view name);

/// Fails for a name that is no filter (map('name') comes from run time).
Value apply_filter(Runtime& runtime, std::string_view name, const Value& operand,
                   const CallArgs& args);

/// json.dumps(value, ensure_ascii=False), with its options as transformers passes them on.
struct JsonOptions {
  bool ensure_ascii = false;
  bool sort_keys = false;
  const std::string* indent = nullptr;  ///< null: on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
void append_json(Text& out, const Value& value, const JsonOptions& options);

}  // namespace onebit::text::jinja
