// Names that come out of files may hold any byte; messages must stay one printable line.
#pragma once

#include <string>
#include <string_view>

namespace onebit::file {

/// 'text' with control and non-ASCII bytes as \xNN, cut after 100 bytes of input.
std::string in_quotes(std::string_view text);

}  // namespace onebit::file
