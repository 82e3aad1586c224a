// Cuts a template into tokens with Jinja's whitespace rules, set as transformers sets them:
// trim_blocks (a newline after a block tag is dropped) and lstrip_blocks (blanks before a block tag
// on its own line are dropped), one newline at the very end dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::text::jinja {

enum class TokenKind {
  kData,  ///< text between tags
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  ///< text: the operator
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  ///< data, name, operator, or a string's value with its escapes replaced
  std::int64_t integer = 0;
  double real = 0;
};

/// The last token is kEnd. Throws TemplateError{kCorrupt, kUnsupported} with its line.
std::vector<Token> tokenize(std::string_view source);

}  // namespace onebit::text::jinja
