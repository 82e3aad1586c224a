// The one place where kinds of failure become exit codes.
#pragma once

#include "base/error.h"

namespace onebit::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;  ///< the command line itself; nothing was tried
inline constexpr int kExitInterrupted = 130;

constexpr int exit_code(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInterrupted:
      return kExitInterrupted;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
    case ErrorCode::kIo:
    case ErrorCode::kResource:
    case ErrorCode::kNumeric:
      break;
  }
  return kExitFailed;
}

}  // namespace onebit::cli
