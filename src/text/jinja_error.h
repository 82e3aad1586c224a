// How the parts of the template engine report a failure: the evaluator adds the line and makes the
// program's Error of it (chat_template.cc).
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"

namespace onebit::text::jinja {

/// A failure before its line is known; line 0 means: not known yet.
class TemplateError : public std::runtime_error {
 public:
  TemplateError(ErrorCode code, const std::string& message, int line = 0)
      : std::runtime_error(message), code_(code), line_(line) {}

  ErrorCode code() const noexcept { return code_; }
  int line() const noexcept { return line_; }
  void set_line(int line) noexcept { line_ = line; }

 private:
  ErrorCode code_;
  int line_;
};

/// The template does what Python or Jinja refuses: a wrong type, an undefined value, a bad
/// argument.
[[noreturn]] inline void fail(const std::string& message) {
  throw TemplateError(ErrorCode::kInvalidArgument, message);
}

/// Jinja could do it, this engine does not.
[[noreturn]] inline void unsupported(const std::string& what) {
  throw TemplateError(ErrorCode::kUnsupported, what + " is not supported");
}

}  // namespace onebit::text::jinja
