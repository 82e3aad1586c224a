#include "eval/windows.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/error.h"

namespace onebit::eval {
namespace {

[[noreturn]] void throw_argument(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

void check_options(const PerplexityOptions& options) {
  const bool llama_cpp = options.protocol == Protocol::kLlamaCpp;
  const std::int64_t least = llama_cpp ? 3 : 2;
  if (options.window < least) {
    throw_argument(
        fmt::format("window: found {} tokens, expected at least {}", options.window, least));
  }
  if (options.stride < 0 || options.stride > options.window) {
    throw_argument(fmt::format("stride: found {}, expected 1 to {}, the window", options.stride,
                               options.window));
  }
  if (options.stride > 0 && llama_cpp) {
    throw_argument(
        fmt::format("stride: found {}, expected none with the protocol llama.cpp", options.stride));
  }
}

/// Windows that overlap, until one ends with the text.
std::vector<Window> cut_strides(std::int64_t tokens, const PerplexityOptions& options) {
  std::vector<Window> windows;
  std::int64_t scored_end = 0;  // tokens before it were in a window
  for (std::int64_t begin = 0; scored_end < tokens; begin += options.stride) {
    const std::int64_t end = std::min(begin + options.window, tokens);
    // Position p predicts token begin + p + 1.
    const Window window{begin, end - begin, std::max<std::int64_t>(scored_end - begin - 1, 0)};
    if (window.scored() > 0) windows.push_back(window);
    scored_end = end;
  }
  return windows;
}

std::vector<Window> cut_apart(std::int64_t tokens, const PerplexityOptions& options) {
  const std::int64_t first = options.protocol == Protocol::kLlamaCpp ? options.window / 2 : 0;
  std::vector<Window> windows;
  for (std::int64_t begin = 0; tokens - begin >= options.window; begin += options.window) {
    windows.push_back({begin, options.window, first});
  }
  return windows;
}

}  // namespace

std::vector<Window> cut_windows(std::int64_t tokens, const PerplexityOptions& options) {
  check_options(options);
  std::vector<Window> windows =
      options.stride > 0 ? cut_strides(tokens, options) : cut_apart(tokens, options);
  if (windows.empty()) {
    throw_argument(options.stride > 0
                       ? fmt::format("text: found {} tokens, expected at least 2", tokens)
                       : fmt::format("text: found {} tokens, expected at least one window of {}",
                                     tokens, options.window));
  }
  const auto count = static_cast<std::int64_t>(windows.size());
  if (options.max_windows > 0 && options.max_windows < count) {
    windows.resize(static_cast<std::size_t>(options.max_windows));
  }
  return windows;
}

void require_context(std::int64_t window, std::int64_t context, std::string_view who) {
  if (window <= context) return;
  throw_argument(fmt::format("window: found {} tokens, expected at most {}, the context of {}",
                             window, context, who));
}

std::vector<text::TokenId> ScoredText::context(const Window& window) const {
  std::vector<text::TokenId> result(tokens.begin() + window.begin,
                                    tokens.begin() + window.begin + window.size - 1);
  if (window_bos) result.front() = *window_bos;
  return result;
}

std::span<const text::TokenId> ScoredText::targets(const Window& window) const {
  return {tokens.data() + window.begin + window.first + 1,
          static_cast<std::size_t>(window.scored())};
}

ScoredText scored_text(const text::Tokenizer& tokenizer, std::string_view text,
                       const PerplexityOptions& options) {
  ScoredText result;
  result.tokens = tokenizer.encode(text, {.add_special = false, .parse_special = false});
  if (tokenizer.adds_bos()) {
    result.tokens.insert(result.tokens.begin(), tokenizer.bos());
    if (options.protocol == Protocol::kLlamaCpp) result.window_bos = tokenizer.bos();
  }
  result.windows = cut_windows(static_cast<std::int64_t>(result.tokens.size()), options);
  for (const Window& window : result.windows) result.predictions += window.scored();
  return result;
}

}  // namespace onebit::eval
