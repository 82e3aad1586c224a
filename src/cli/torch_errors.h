// libtorch's exceptions as this program's.
#pragma once

#include <c10/util/Exception.h>
#include <string>

#include "base/error.h"

namespace onebit::cli {

/// Runs `work`. libtorch's messages bring a trace of its own calls; people get one line, and
/// `no_memory` where that is what it lacks.
template <class Work>
auto with_torch_errors(const std::string& no_memory, Work&& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("can't allocate memory") != std::string::npos) {
      throw Error(ErrorCode::kResource, no_memory);
    }
    throw Error(ErrorCode::kResource, "libtorch: " + what.substr(0, what.find('\n')));
  }
}

}  // namespace onebit::cli
