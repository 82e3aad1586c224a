// What a mistyped word was probably meant to be.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace onebit::cli {

/// The choice that `word` begins, that begins `word`, or that is nearest to it in single-letter
/// edits (insert, delete, replace, exchange neighbours; case does not count) with at most a third
/// of its letters wrong; empty when there is none. The first of equals.
std::string_view suggestion(std::string_view word, std::span<const std::string_view> choices);

/// "unknown command 'rnu'; did you mean 'run'?": `message`, and the suggestion if there is one.
std::string with_suggestion(std::string message, std::string_view word,
                            std::span<const std::string_view> choices);

}  // namespace onebit::cli
