#include "eval/text_windows.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/error.h"

namespace onebit::eval {

std::vector<text::TokenId> text_tokens(const text::Tokenizer& tokenizer, std::string_view text) {
  std::vector<text::TokenId> tokens =
      tokenizer.encode(text, {.add_special = false, .parse_special = false});
  if (tokenizer.adds_bos()) tokens.insert(tokens.begin(), tokenizer.bos());
  return tokens;
}

std::int64_t whole_windows(std::int64_t tokens, std::int64_t window, std::int64_t max_windows) {
  const std::int64_t windows = tokens / window;
  if (windows == 0) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("text: found {} tokens, expected at least one window of {}", tokens, window));
  }
  return max_windows > 0 ? std::min(windows, max_windows) : windows;
}

void require_context(std::int64_t window, std::int64_t context, std::string_view who) {
  if (window <= context) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("window: found {} tokens, expected at most {}, the context of {}", window,
                          context, who));
}

}  // namespace onebit::eval
