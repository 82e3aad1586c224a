// UTF-8 by the standard's table of well-formed sequences; NFC by utf8proc.
#include "text/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <utf8proc.h>

#include "base/error.h"

namespace onebit::text {
namespace {

unsigned char byte_at(std::string_view text, std::size_t at) noexcept {
  return static_cast<unsigned char>(text[at]);
}

bool in_range(unsigned char byte, unsigned char low, unsigned char high) noexcept {
  return byte >= low && byte <= high;
}

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct Free {
  void operator()(utf8proc_uint8_t* pointer) const noexcept { std::free(pointer); }
};

/// `text` must be well-formed.
void append_nfc(std::string_view text, std::string& out) {
  if (is_ascii(text)) {
    out += text;
    return;
  }
  utf8proc_uint8_t* result = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(result);
  if (size < 0) {
    throw Error(ErrorCode::kResource,
                fmt::format("NFC of {} bytes of text: {}", text.size(), utf8proc_errmsg(size)));
  }
  out.append(reinterpret_cast<const char*>(result), static_cast<std::size_t>(size));
}

}  // namespace

std::size_t utf8_char_size(std::string_view text, std::size_t at) noexcept {
  const unsigned char first = byte_at(text, at);
  if (first < 0x80) return 1;
  std::size_t size = 0;
  // The second byte's range excludes overlong forms, surrogates and what lies past U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (in_range(first, 0xC2, 0xDF)) {
    size = 2;
  } else if (in_range(first, 0xE0, 0xEF)) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (in_range(first, 0xF0, 0xF4)) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (text.size() - at < size || !in_range(byte_at(text, at + 1), low, high)) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if (!in_range(byte_at(text, at + i), 0x80, 0xBF)) return 0;
  }
  return size;
}

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = utf8_char_size(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text, std::string_view replacement) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = utf8_char_size(text, at);
    if (size == 0) {
      result += replacement;
      ++at;
    } else {
      result.append(text, at, size);
      at += size;
    }
  }
  return result;
}

std::string nfc(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = utf8_char_size(text, at);
    if (size == 0) {
      append_nfc(text.substr(begin, at - begin), result);
      result += text[at];
      begin = at + 1;
    }
    at += size == 0 ? 1 : size;
  }
  append_nfc(text.substr(begin), result);
  return result;
}

}  // namespace onebit::text
