// The methods of str, dict and list that a template may call.
#pragma once

#include <string_view>

#include "text/jinja_call.h"

namespace onebit::text::jinja {

/// What `value.name` is in Python, where `name` is an attribute of the value's type.
enum class MethodKind {
  kNone,         ///< no such attribute
  kCallable,     ///< call_method handles it
  kForbidden,    ///< it changes the value: transformers' sandbox forbids it
  kUnsupported,  ///< Python has it, this engine does not
};
MethodKind find_method(const Value& self, std::string_view name);

/// Calls a kCallable method of a string, dict or list.
Value call_method(Runtime& runtime, const Value& self, std::string_view name, const CallArgs& args);

}  // namespace onebit::text::jinja
