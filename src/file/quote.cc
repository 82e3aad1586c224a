#include "file/quote.h"

#include <cstddef>
#include <fmt/format.h>

namespace onebit::file {
namespace {

constexpr std::size_t kMaxQuoted = 100;  // longer than any real tensor name or key

}  // namespace

std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, kMaxQuoted)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7E) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  if (text.size() > kMaxQuoted) result += "...";
  return result + "'";
}

}  // namespace onebit::file
