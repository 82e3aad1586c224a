// Whole windows of a text, one after the other: for what needs no protocol but the papers'.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace onebit::eval {

/// The ids of the whole text, after one BOS if the tokenizer adds one.
std::vector<text::TokenId> text_tokens(const text::Tokenizer& tokenizer, std::string_view text);

/// How many whole windows of `window` > 0 tokens, one after the other, there are in a text of
/// `tokens`; no more than `max_windows` unless that is 0. Throws Error{kInvalidArgument} when there
/// is none.
std::int64_t whole_windows(std::int64_t tokens, std::int64_t window, std::int64_t max_windows);

/// Throws Error{kInvalidArgument} for a window longer than the context of `who`, "the model".
void require_context(std::int64_t window, std::int64_t context, std::string_view who);

}  // namespace onebit::eval
