#include "report/markup.h"

#include <cstdint>

namespace onebit::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";

struct Character {
  char32_t code = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

/// The character at `text`'s beginning; one byte that is no UTF-8 where there is none. `text` must
/// not be empty.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  std::size_t bytes = 0;
  char32_t code = 0;
  char32_t least = 0;  // shorter forms of a code are not UTF-8
  if (lead >= 0xC2 && lead < 0xE0) {
    bytes = 2, code = lead & 0x1FU, least = 0x80;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    bytes = 3, code = lead & 0x0FU, least = 0x800;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    bytes = 4, code = lead & 0x07U, least = 0x10000;
  } else {
    return {};
  }
  if (bytes > text.size()) return {};
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    code = (code << 6U) | (byte(i) & 0x3FU);
  }
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < least || code > 0x10FFFF || surrogate) return {};
  return {code, bytes, true};
}

bool is_space(char32_t code) {
  return (code >= '\t' && code <= '\r') || code == 0x2028 || code == 0x2029;
}

bool is_control(char32_t code) {
  const bool turns = code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E) ||
                     (code >= 0x2066 && code <= 0x2069);
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || turns;
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

}  // namespace

std::string clean_text(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Character c = first_character(text);
    if (c.valid && is_space(c.code)) {
      result += ' ';
    } else if (!c.valid || is_control(c.code)) {
      result += kReplacement;
    } else {
      result += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes);
  }
  return result;
}

std::string html_text(std::string_view text) {
  std::string result;
  for (const char c : clean_text(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string markdown_text(std::string_view text) {
  const std::string clean = clean_text(text);
  std::string result;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const char c = clean[i];
    // Within a word an underscore stands for itself.
    const bool plain =
        c == '_' && i > 0 && is_word(clean[i - 1]) && i + 1 < clean.size() && is_word(clean[i + 1]);
    if (c == '<' || c == '>' || c == '&') {
      result += html_text({&c, 1});
    } else {
      if (!plain && std::string_view("\\`*_[]|#~").find(c) != std::string_view::npos) {
        result += '\\';
      }
      result += c;
    }
  }
  return result;
}

std::string csv_text(std::string_view text) {
  std::string clean = clean_text(text);
  if (!clean.empty() && std::string_view("=+-@").find(clean.front()) != std::string_view::npos) {
    clean.insert(clean.begin(), '\'');
  }
  if (clean.find_first_of(",\"") == std::string::npos) return clean;
  std::string result = "\"";
  for (const char c : clean) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + "\"";
}

std::string gnuplot_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : clean_text(text)) {
    if (c == '\'') result += '\'';
    result += c;
  }
  return result + "'";
}

std::string shortened(std::string_view text, std::size_t characters) {
  std::size_t end = 0;     // of what is kept whole
  std::size_t before = 0;  // of what is kept before an ellipsis
  for (std::size_t count = 0; end < text.size(); ++count) {
    if (count == characters) return std::string(text.substr(0, before)).append(kEllipsis);
    before = count + 1 < characters ? end + first_character(text.substr(end)).bytes : before;
    end += first_character(text.substr(end)).bytes;
  }
  return std::string(text);
}

double text_width(std::string_view text) {
  constexpr double kNarrow = 0.61;         // of Latin and other alphabets, capitals among them
  constexpr double kWide = 1.0;            // of ideographs
  constexpr char32_t kFirstWide = 0x1100;  // Hangul's letters; nearly all after them is as wide
  double width = 0;
  while (!text.empty()) {
    const Character c = first_character(text);
    width += c.code < kFirstWide ? kNarrow : kWide;
    text.remove_prefix(c.bytes);
  }
  return width;
}

}  // namespace onebit::report
