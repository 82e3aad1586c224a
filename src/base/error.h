// The one exception for what users or files cause. Programmer errors use ONEBIT_CHECK (check.h).
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace onebit {

/// What kind of failure it is. cli maps each code once to an exit code, serve to an HTTP status.
enum class ErrorCode {
  kInvalidArgument,  ///< an option or a request that cannot be meant
  kNotFound,         ///< a file, tensor, key or id that is not there
  kCorrupt,          ///< a file that contradicts itself or its format
  kUnsupported,      ///< well-formed, but outside what this program handles
  kIo,               ///< the operating system refused to read or write
  kResource,         ///< not enough memory, disk or context length
  kNumeric,          ///< NaN or infinity where a finite number is needed
  kInterrupted,      ///< stopped on request, state saved where there is state
};

/// Message form: what, where, found, expected; one line, no trailing full stop.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace onebit
