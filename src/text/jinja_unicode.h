// Text as Python's str sees it: code points rather than bytes, Unicode blanks and cases, and the
// shortest decimal form of a float. Bytes that are not UTF-8 count as one character each and pass
// unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
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

/// The characters of a text one after the other, for loops: nothing is copied.
class Characters {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Character;
    using difference_type = std::ptrdiff_t;
    using pointer = const Character*;
    using reference = const Character&;

    Iterator(std::string_view text, std::size_t at) : text_(text), at_(at) { look(); }
    const Character& operator*() const { return current_; }
    Iterator& operator++() {
      at_ += current_.bytes.size();
      look();
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    void look() {
      if (at_ < text_.size()) current_ = character_at(text_, at_);
    }

    std::string_view text_;
    std::size_t at_;
    Character current_{};
  };

  explicit Characters(std::string_view text) : text_(text) {}
  Iterator begin() const { return {text_, 0}; }
  Iterator end() const { return {text_, text_.size()}; }

 private:
  std::string_view text_;
};

/// The front of a text, at most `longest` bytes and no half character.
std::string_view beginning(std::string_view text, std::size_t longest);

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

/// repr(str) is a mark, every character as quoted() gives it (escapes; \x, \u, \U for what is not
/// printable), and the mark.
char quote_mark(std::string_view text);
std::string quoted(const Character& c, char mark);

/// repr(float).
std::string float_text(double value);

}  // namespace onebit::text::jinja
