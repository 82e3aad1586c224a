// Follows jinja2/lexer.py (3.1.6) rule by rule; its regular expressions are written out as loops.
#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <fmt/format.h>

#include "text/jinja_error.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

[[noreturn]] void corrupt(int line, const std::string& message) {
  throw TemplateError(ErrorCode::kCorrupt, message, line);
}

/// Every line ending as \n, and the last one dropped.
std::string normalize(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_name(char c) { return is_name_start(c) || is_digit(c); }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// A string literal's inside with Python's escapes replaced.
std::string unescape(std::string_view raw, int line) {
  std::string out;
  for (std::size_t i = 0; i < raw.size();) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      out += raw[i++];
      continue;
    }
    const char c = raw[i + 1];
    i += 2;
    constexpr std::string_view kNames = "\\'\"abfnrtv";
    constexpr std::string_view kCodes = "\\'\"\a\b\f\n\r\t\v";
    if (const std::size_t at = kNames.find(c); at != std::string_view::npos) {
      out += kCodes[at];
    } else if (c == '\n') {
      continue;  // a line joined to the next
    } else if (c >= '0' && c <= '7') {
      std::int32_t code = c - '0';
      for (int n = 0; n < 2 && i < raw.size() && raw[i] >= '0' && raw[i] <= '7'; ++n) {
        code = code * 8 + (raw[i++] - '0');
      }
      append_utf8(out, code);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const int digits = c == 'x' ? 2 : (c == 'u' ? 4 : 8);
      std::int64_t code = 0;
      for (int n = 0; n < digits; ++n, ++i) {
        const int digit = i < raw.size() ? hex_digit(raw[i]) : -1;
        if (digit < 0) corrupt(line, fmt::format("a string holds a \\{} escape cut short", c));
        code = code * 16 + digit;
      }
      if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
        corrupt(line, fmt::format("a string holds \\{}{:x}, which is no character", c, code));
      }
      append_utf8(out, static_cast<std::int32_t>(code));
    } else if (c == 'N') {
      throw TemplateError(ErrorCode::kUnsupported, "the escape \\N{...} is not supported", line);
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) text();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  bool at(std::string_view what) const { return rest().starts_with(what); }

  void add(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text), 0, 0});
  }

  /// Moves on by `count` bytes. Jinja looks at the last piece it matched to tell whether a tag
  /// starts its line.
  void advance(std::size_t count) {
    const std::string_view piece = rest().substr(0, count);
    line_ += static_cast<int>(std::count(piece.begin(), piece.end(), '\n'));
    if (!piece.empty()) line_starting_ = piece.back() == '\n';
    position_ += count;
  }

  std::size_t blanks(std::size_t from) const {
    std::size_t end = from;
    while (end < source_.size()) {
      const Character c = character_at(source_, end);
      if (!is_space(c.code)) break;
      end += c.bytes.size();
    }
    return end - from;
  }

  /// The text before the next tag, then the tag.
  void text() {
    std::size_t tag = position_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        add(TokenKind::kData, rest());
        advance(rest().size());
        return;
      }
      if (const char c = source_[tag + 1]; c == '%' || c == '{' || c == '#') break;
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    const bool signed_tag = sign == '-' || sign == '+';
    add_text(rest().substr(0, tag - position_), sign, type != '{');
    advance(tag + 2 + (signed_tag ? 1 : 0) - position_);
    if (type == '#') {
      comment();
    } else if (type == '%' && raw_begins()) {
      raw();
    } else {
      const bool block = type == '%';
      add(block ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
      tag_inside(block);
    }
  }

  void add_text(std::string_view text, char sign, bool strips_line) {
    if (sign == '-') {
      text = strip(text, std::nullopt, false, true);
    } else if (sign != '+' && strips_line) {
      const std::size_t line_start = text.rfind('\n') + 1;  // npos + 1 == 0
      const std::string_view tail = text.substr(line_start);
      if ((line_start > 0 || line_starting_) && !tail.empty() &&
          strip(tail, std::nullopt, true, false).empty()) {
        text = text.substr(0, line_start);
      }
    }
    if (!text.empty()) add(TokenKind::kData, text);
  }

  void comment() {
    const int line = line_;
    const std::size_t end = source_.find("#}", position_);
    if (end == std::string::npos) corrupt(line, "a comment is not closed, expected '#}'");
    const char sign = end > position_ ? source_[end - 1] : ' ';
    finish_tag(end + 2 - position_, sign, true);
  }

  /// Ends a tag after `size` more bytes, with the blanks or the newline that go with it.
  void finish_tag(std::size_t size, char sign, bool trims) {
    if (sign == '-') {
      size += blanks(position_ + size);
    } else if (sign != '+' && trims && position_ + size < source_.size() &&
               source_[position_ + size] == '\n') {
      ++size;
    }
    advance(size);
  }

  /// After "{%": consumes "raw %}", if that is what follows.
  bool raw_begins() {
    std::size_t p = position_ + blanks(position_);
    if (!std::string_view(source_).substr(p).starts_with("raw")) return false;
    p += 3;
    p += blanks(p);
    const std::string_view end = std::string_view(source_).substr(p);
    if (end.starts_with("%}")) {
      advance(p + 2 - position_);
    } else if (end.starts_with("-%}")) {
      advance(p + 3 + blanks(p + 3) - position_);
    } else {
      return false;
    }
    return true;
  }

  void raw() {
    const int line = line_;
    for (std::size_t tag = source_.find("{%", position_); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      std::size_t p = tag + 2;
      const char sign = p < source_.size() ? source_[p] : ' ';
      if (sign == '-' || sign == '+') ++p;
      p += blanks(p);
      if (!std::string_view(source_).substr(p).starts_with("endraw")) continue;
      p += 6;
      p += blanks(p);
      const std::string_view end = std::string_view(source_).substr(p);
      const bool end_signed = end.starts_with("-%}") || end.starts_with("+%}");
      if (!end_signed && !end.starts_with("%}")) continue;
      add_text(rest().substr(0, tag - position_), sign, true);
      advance(tag - position_);
      finish_tag(p + (end_signed ? 3 : 2) - position_, end_signed ? end[0] : ' ', true);
      return;
    }
    corrupt(line, "a raw block is not closed, expected '{% endraw %}'");
  }

  /// Everything up to the end of a block or variable tag, that end included.
  void tag_inside(bool block) {
    const std::string_view close = block ? "%}" : "}}";
    std::string open_brackets;
    const int first_line = line_;
    for (;;) {
      advance(blanks(position_));
      if (position_ >= source_.size()) {
        corrupt(first_line, fmt::format("a tag is not closed, expected '{}'", close));
      }
      if (open_brackets.empty()) {
        const char c = source_[position_];
        const bool end_signed =
            (c == '-' || (c == '+' && block)) && rest().substr(1).starts_with(close);
        if (end_signed || at(close)) {
          add(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
          finish_tag(end_signed ? 3 : 2, end_signed ? c : ' ', block);
          return;
        }
      }
      const char c = source_[position_];
      if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        const auto name = rest().substr(
            0, static_cast<std::size_t>(std::find_if_not(rest().begin(), rest().end(), is_name) -
                                        rest().begin()));
        add(TokenKind::kName, name);
        advance(name.size());
      } else if (c == '\'' || c == '"') {
        string(c);
      } else {
        operator_token(open_brackets);
      }
    }
  }

  void string(char mark) {
    std::size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != mark) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) corrupt(line_, "a string is not closed");
    const std::string_view raw = rest().substr(1, end - position_ - 1);
    add(TokenKind::kString, unescape(raw, line_));
    advance(raw.size() + 2);
  }

  void number() {
    const auto digits_from = [&](std::size_t p) {  // digits, single underscores between them
      std::size_t end = p;
      while (end < source_.size() &&
             (is_digit(source_[end]) || (source_[end] == '_' && end > p &&
                                         end + 1 < source_.size() && is_digit(source_[end + 1])))) {
        ++end;
      }
      return end;
    };
    const auto digit_at = [&](std::size_t p) { return p < source_.size() && is_digit(source_[p]); };
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    std::size_t end = digits_from(position_);
    bool real = false;
    if (!after_dot) {
      if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
        real = true;
        end = digits_from(end + 1);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const bool exponent_signed =
            end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
        const std::size_t exponent = end + (exponent_signed ? 2 : 1);
        if (digit_at(exponent)) {
          real = true;
          end = digits_from(exponent);
        }
      }
    }
    std::string text(rest().substr(0, end - position_));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    Token token{real ? TokenKind::kFloat : TokenKind::kInteger, line_, text, 0, 0};
    std::from_chars_result result{};
    if (real) {
      result = std::from_chars(text.data(), text.data() + text.size(), token.real);
    } else {
      result = std::from_chars(text.data(), text.data() + text.size(), token.integer);
      const bool leading_zero =
          text.size() > 1 && text[0] == '0' && text.find_first_not_of('0') != std::string::npos;
      if (leading_zero) corrupt(line_, fmt::format("the number {} begins with a zero", text));
    }
    if (result.ec != std::errc() || (end < source_.size() && is_name(source_[end]))) {
      throw TemplateError(
          ErrorCode::kUnsupported,
          fmt::format("the number {} is not supported", rest().substr(0, end - position_ + 1)),
          line_);
    }
    tokens_.push_back(std::move(token));
    advance(end - position_);
  }

  void operator_token(std::string& open_brackets) {
    constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto* const found = std::find_if(kOperators.begin(), kOperators.end(),
                                           [&](std::string_view op) { return at(op); });
    if (found == kOperators.end()) {
      const Character c = character_at(source_, position_);
      if (c.code > 0x7F) {
        throw TemplateError(
            ErrorCode::kUnsupported,
            fmt::format("the character '{}' outside a string is not supported", c.bytes), line_);
      }
      corrupt(line_, fmt::format("unexpected character '{}'", quoted(c, '\'')));
    }
    const char c = found->front();
    if (c == '{') open_brackets += '}';
    if (c == '(') open_brackets += ')';
    if (c == '[') open_brackets += ']';
    if (c == '}' || c == ')' || c == ']') {
      if (open_brackets.empty()) corrupt(line_, fmt::format("unexpected '{}'", c));
      if (open_brackets.back() != c) {
        corrupt(line_, fmt::format("unexpected '{}', expected '{}'", c, open_brackets.back()));
      }
      open_brackets.pop_back();
    }
    add(TokenKind::kOperator, *found);
    advance(found->size());
  }

  std::string source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace onebit::text::jinja
