// Work that can be stopped looks at its stop token between pieces of no more than a few seconds.
#pragma once

#include <stop_token>

#include "base/error.h"

namespace onebit {

/// Throws Error{kInterrupted} once `stop` has been requested.
inline void throw_if_stopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "interrupted");
}

}  // namespace onebit
