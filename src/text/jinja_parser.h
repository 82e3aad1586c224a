// Template source to tree. The grammar is jinja2/parser.py's (3.1.6) less inheritance, imports and
// recursive loops:
//   template   := (text | "{{" tuple "}}" | "{%" statement "%}")*
//   statement  := if | for | set | macro | call | filter | with | generation | break | continue
//   tuple      := expression ("," expression)* [","]
//   expression := or ["if" or ["else" expression]]
//   or, and, not, comparison, + -, ~, * / // %, **, unary, postfix, filters and tests:
//   each binds tighter than the one before
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace onebit::text::jinja {

/// Throws TemplateError with its line: kUnsupported for a statement, filter, test or construct that
/// this engine lacks, kCorrupt for what is not Jinja, kResource for nesting that is too deep.
Body parse(std::string_view source);

}  // namespace onebit::text::jinja
