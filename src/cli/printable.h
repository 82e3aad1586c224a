// Text of others (a model's name, a path) in a line of ours.
#pragma once

#include <string>
#include <string_view>

namespace onebit::cli {

/// `text` without control characters (below U+0020, U+007F to U+009F), which could drive the
/// terminal: white space becomes a space, the others U+FFFD.
std::string printable(std::string_view text);

}  // namespace onebit::cli
