// Text files line by line, for the formats that hold a row a line.
#pragma once

#include <cstddef>
#include <string_view>

namespace onebit::eval {

/// The line at `rest`'s beginning with its newline, taken off `rest`.
inline std::string_view take_line(std::string_view& rest) {
  const std::size_t newline = rest.find('\n');
  const std::size_t size = newline == std::string_view::npos ? rest.size() : newline + 1;
  const std::string_view line = rest.substr(0, size);
  rest.remove_prefix(size);
  return line;
}

inline bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\n\v\f\r") == std::string_view::npos;
}

}  // namespace onebit::eval
