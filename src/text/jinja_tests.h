// Jinja's tests: {% if value is name(arguments) %}.
#pragma once

#include <string_view>

#include "text/jinja_call.h"

namespace onebit::text::jinja {

bool is_test(std::string_view name);

/// Fails for a name that is no test (select('name') comes from run time).
bool apply_test(Runtime& runtime, std::string_view name, const Value& operand,
                const CallArgs& args);

}  // namespace onebit::text::jinja
