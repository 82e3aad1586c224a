// Character classes come from utf8proc; the rules are CPython's (Objects/unicodeobject.c).
#include "text/jinja_unicode.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <utf8proc.h>

namespace onebit::text::jinja {
namespace {

constexpr std::int32_t kSharpS = 0xDF;

bool is_line_break(std::int32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

template <class Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (const Character& c : Characters(text)) {
    if (c.code < 0) {
      out += c.bytes;
    } else {
      map(out, c.code);
    }
  }
  return out;
}

/// The character that ends at the end of a text that is not empty.
Character last_character(std::string_view text) {
  for (std::size_t size = 1; size <= std::min<std::size_t>(text.size(), 4); ++size) {
    const Character c = character_at(text, text.size() - size);
    if (c.code >= 0 && c.bytes.size() == size) return c;
  }
  return {-1, text.substr(text.size() - 1)};
}

}  // namespace

Character character_at(std::string_view text, std::size_t position) {
  const std::string_view rest = text.substr(position);
  utf8proc_int32_t code = -1;
  const utf8proc_ssize_t size =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(rest.data()),
                       static_cast<utf8proc_ssize_t>(std::min<std::size_t>(rest.size(), 4)), &code);
  if (size <= 0) return {-1, rest.substr(0, 1)};
  return {code, rest.substr(0, static_cast<std::size_t>(size))};
}

std::string_view beginning(std::string_view text, std::size_t longest) {
  std::size_t size = std::min(text.size(), longest);
  while (size > 0 && size < text.size() && (text[size] & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

std::int64_t length(std::string_view text) {
  const Characters all(text);
  return std::distance(all.begin(), all.end());
}

void append_utf8(std::string& out, std::int32_t code) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(code, bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

bool is_space(std::int32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_printable(std::int32_t code) {
  if (code == ' ') return true;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

Case case_of(std::int32_t code) {
  if (code < 0) return Case::kNone;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LL:
      return Case::kLower;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return Case::kUpper;
    default:
      return Case::kNone;
  }
}

std::string to_lower(std::string_view text) {
  return map_characters(
      text, [](std::string& out, std::int32_t code) { append_utf8(out, utf8proc_tolower(code)); });
}

std::string to_upper(std::string_view text) {
  return map_characters(text, [](std::string& out, std::int32_t code) {
    if (code == kSharpS) {
      out += "SS";
    } else {
      append_utf8(out, utf8proc_toupper(code));
    }
  });
}

std::string_view strip(std::string_view text, std::optional<std::string_view> set, bool left,
                       bool right) {
  const Characters chosen(set.value_or(""));
  const auto goes = [&](const Character& c) {
    if (!set) return is_space(c.code);
    return std::any_of(chosen.begin(), chosen.end(),
                       [&](const Character& other) { return other.bytes == c.bytes; });
  };
  while (left && !text.empty()) {
    const Character c = character_at(text, 0);
    if (!goes(c)) break;
    text.remove_prefix(c.bytes.size());
  }
  while (right && !text.empty()) {
    const Character c = last_character(text);
    if (!goes(c)) break;
    text.remove_suffix(c.bytes.size());
  }
  return text;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::size_t end = at;
    at += c.bytes.size();
    if (!is_line_break(c.code)) continue;
    if (c.code == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, end - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

char quote_mark(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  return has_single && !has_double ? '"' : '\'';
}

std::string quoted(const Character& c, char mark) {
  if (c.code < 0) return std::string(c.bytes);
  if (c.code == mark || c.code == '\\') return std::string{'\\', static_cast<char>(c.code)};
  if (c.code == '\n') return "\\n";
  if (c.code == '\r') return "\\r";
  if (c.code == '\t') return "\\t";
  if (is_printable(c.code)) return std::string(c.bytes);
  if (c.code < 0x100) return fmt::format("\\x{:02x}", c.code);
  if (c.code < 0x10000) return fmt::format("\\u{:04x}", c.code);
  return fmt::format("\\U{:08x}", c.code);
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  static_cast<void>(error);  // 40 bytes hold every double
  std::string_view shortest(buffer, static_cast<std::size_t>(end - buffer));
  const bool negative = shortest.front() == '-';
  if (negative) shortest.remove_prefix(1);
  const std::size_t e = shortest.find('e');
  std::string digits(1, shortest[0]);
  if (e > 2) digits += shortest.substr(2, e - 2);
  int exponent = 0;
  std::from_chars(shortest.data() + e + 2, shortest.data() + shortest.size(), exponent);
  if (shortest[e + 1] == '-') exponent = -exponent;

  std::string out(negative ? "-" : "");
  const int count = static_cast<int>(digits.size());
  const auto zeros = [](int n) {
    return std::string(static_cast<std::size_t>(std::max(n, 0)), '0');
  };
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += '.' + digits.substr(1);
    return out + fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + zeros(-1 - exponent) + digits;
  const int whole = exponent + 1;  // digits before the point
  if (whole >= count) return out + digits + zeros(whole - count) + ".0";
  const auto point = static_cast<std::size_t>(whole);
  return out + digits.substr(0, point) + '.' + digits.substr(point);
}

}  // namespace onebit::text::jinja
