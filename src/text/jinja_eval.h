// Evaluates a parsed template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_budget.h"
#include "text/jinja_value.h"

namespace onebit::text::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

/// The template's output. `now`: seconds since 1970, for strftime_now. Throws TemplateError with
/// the line where it happened: kInvalidArgument for what Jinja refuses and for raise_exception,
/// kUnsupported, kResource.
std::string render(const Body& body, const Variables& variables, const Limits& limits,
                   std::int64_t now);

/// A value from JSON text, its objects' keys in order. Throws TemplateError{kInvalidArgument}.
Value from_json(Budget& budget, std::string_view json);

}  // namespace onebit::text::jinja
