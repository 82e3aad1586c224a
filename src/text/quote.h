// Names that come out of files may hold any byte; messages must stay one printable line.
#pragma once

#include <string>
#include <string_view>

namespace onebit::text {

/// "text" as a JSON string in ASCII, cut after 80 bytes of input.
std::string in_quotes(std::string_view text);

}  // namespace onebit::text
