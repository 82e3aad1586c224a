// Text as Python's str sees it: code points rather than bytes, Unicode blanks and cases, and the
// shortest decimal form of a float. Bytes that are not UTF-8 count as one character each and pass
// unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::text::jinja {

struct Character {
  std::int32_t code;  ///< -1: a byte that is no UTF-8
  std::string_view bytes;
};

/// The character at byte `position` < text.size().
Character character_at(std::string_view text, std::size_t position);

/// All characters; their `bytes` point into `text`.
std::vector<Character> characters(std::string_view text);

/// Number of characters.
std::int64_t length(std::string_view text);

void append_utf8(std::string& out, std::int32_t code);

/// str.isspace of one code point.
bool is_space(std::int32_t code);

/// str.isprintable of one code point.
bool is_printable(std::int32_t code);

enum class Case { kNone, kLower, kUpper };
Case case_of(std::int32_t code);

/// Simple case mapping of every character (and ß to SS).
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

/// Without leading and/or trailing characters: blanks, or those in `set`.
std::string_view strip(std::string_view text, std::optional<std::string_view> set, bool left,
                       bool right);

/// str.splitlines(): also at \v \f \x1c-\x1e \x85 and the Unicode separators.
std::vector<std::string_view> split_lines(std::string_view text);

/// repr(str): quotes, escapes, non-printable characters as \x, \u, \U.
std::string quote(std::string_view text);

/// repr(float).
std::string float_text(double value);

}  // namespace onebit::text::jinja
