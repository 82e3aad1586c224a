#include "eval/python_text.h"

#include <algorithm>
#include <utf8proc.h>

namespace onebit::eval {
namespace {

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

/// The character at `at`; text must be well-formed. `size` becomes its bytes.
char32_t character_at(std::string_view text, std::size_t at, std::size_t& size) {
  size = 1;
  while (at + size < text.size() && continues_character(text[at + size])) ++size;
  utf8proc_int32_t code = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                   static_cast<utf8proc_ssize_t>(size), &code);
  return static_cast<char32_t>(code);
}

void append_character(utf8proc_int32_t code, std::string& text) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(code, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

/// str.isspace() of one character: bidirectional type WS, B or S, or category Zs.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

}  // namespace

std::string_view rstrip(std::string_view text) {
  while (!text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && continues_character(text[at])) --at;
    std::size_t size = 0;
    if (!is_space(character_at(text, at, size))) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  text = rstrip(text);
  std::size_t size = 0;
  while (!text.empty() && is_space(character_at(text, 0, size))) text.remove_prefix(size);
  return text;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    result += text.substr(0, at);
    result += to;
    text.remove_prefix(at + from.size());
  }
  return result += text;
}

std::string capitalize(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0, size = 0; at < text.size(); at += size) {
    const auto code = static_cast<utf8proc_int32_t>(character_at(text, at, size));
    append_character(at == 0 ? utf8proc_totitle(code) : utf8proc_tolower(code), result);
  }
  return result;
}

std::int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); });
}

}  // namespace onebit::eval
