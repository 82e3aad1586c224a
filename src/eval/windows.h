// Which tokens of a text are predicted, each from how much before it: the windows of a protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/words.h"
#include "text/tokenizer.h"

namespace onebit::eval {

enum class Protocol : std::uint8_t {
  /// The papers': one BOS at the very start if the tokenizer adds one, non-overlapping windows of c
  /// tokens, a partial last window dropped, mean NLL of the c-1 predicted tokens of every window.
  kPaper,
  /// llama.cpp's: the same windows, the first token of each replaced by BOS if the tokenizer adds
  /// one; only positions c/2 … c-2 are scored (each predicts its successor).
  kLlamaCpp,
};

struct PerplexityOptions {
  std::int64_t window = 2048;  ///< c
  Protocol protocol = Protocol::kPaper;
  /// N, of the protocol kPaper: 1 to c, or 0 for windows that do not overlap. With it, as in
  /// Hugging Face's "Perplexity of fixed-length models", window k holds the tokens from kN to
  /// min(kN + c, T) of the text's T; those after the first of it that no window before it held are
  /// scored, and the first window that ends at T is the last, partial or not. With N < c every
  /// token but the text's first is scored once, from c - N tokens or more but at the beginning.
  std::int64_t stride = 0;
  std::int64_t max_windows = 0;  ///< 0: all
  int threads = 0;  ///< of the reduction over the vocabulary; 0: one per hardware thread
};

/// Tokens [begin, begin + size) of a text, of which positions first … size-2 predict each its
/// successor.
struct Window {
  std::int64_t begin = 0;
  std::int64_t size = 0;
  std::int64_t first = 0;

  std::int64_t scored() const noexcept { return size - 1 - first; }
};

/// The windows of a text of `tokens`, in order; each scores at least one token. Throws
/// Error{kInvalidArgument}: a window with nothing to predict, a stride that is none of `options`'
/// window or protocol, a text without a window.
std::vector<Window> cut_windows(std::int64_t tokens, const PerplexityOptions& options);

/// Throws Error{kInvalidArgument} for a window longer than the context of `who` ("the model").
void require_context(std::int64_t window, std::int64_t context, std::string_view who);

/// A text as it is scored.
struct ScoredText {
  std::vector<text::TokenId> tokens;  ///< BOS first if the tokenizer adds one
  std::vector<Window> windows;
  std::int64_t predictions = 0;             ///< of all windows
  std::optional<text::TokenId> window_bos;  ///< stands for the first token of every window

  /// What a model runs on: the window without its last token, which predicts nothing.
  std::vector<text::TokenId> context(const Window& window) const;
  /// What follows positions first, first+1, …
  std::span<const text::TokenId> targets(const Window& window) const;
};

/// Throws as cut_windows.
ScoredText scored_text(const text::Tokenizer& tokenizer, std::string_view text,
                       const PerplexityOptions& options);

}  // namespace onebit::eval

namespace onebit {

template <>
struct Words<eval::Protocol> {
  static constexpr Word<eval::Protocol> kAll[] = {{eval::Protocol::kPaper, "paper"},
                                                  {eval::Protocol::kLlamaCpp, "llama.cpp"}};
};

}  // namespace onebit
