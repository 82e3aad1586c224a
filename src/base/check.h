// Assertions for programmer errors, kept on in every build type: they throw, so that a program that
// embeds the library is not aborted by it.
#pragma once

#include <stdexcept>
#include <string>

namespace onebit {

/// A broken contract inside the program: a bug, never a user's fault.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  throw InternalError(std::string("internal error: ") + condition + " does not hold at " + file +
                      ":" + std::to_string(line));
}

}  // namespace onebit

#define ONEBIT_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::onebit::check_failed(#condition, __FILE__, __LINE__))
