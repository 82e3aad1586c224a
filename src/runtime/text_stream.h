// Turns the bytes of tokens into text that can be shown at once: whole UTF-8 characters only, and
// nothing that may yet turn out to be a stop text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::runtime {

/// Bytes in any division to valid UTF-8. Each maximal part of an ill-formed sequence becomes one
/// U+FFFD (Unicode 15, section 3.9; as Python's errors="replace").
class Utf8Stream {
 public:
  /// Appends to `out` all characters that `bytes` completes.
  void feed(std::string_view bytes, std::string& out);

  /// The end: an unfinished character becomes U+FFFD.
  void finish(std::string& out);

 private:
  std::string pending_;  ///< the beginning of one character
};

class TextStream {
 public:
  /// Throws Error{kInvalidArgument} for an empty stop text.
  explicit TextStream(std::vector<std::string> stop_texts);

  /// Adds the bytes of a token; returns the text that can be shown now, valid until the next call.
  /// Nothing follows once stopped().
  std::string_view feed(std::string_view bytes);

  /// The end of generation: what was held back. Nothing when stopped().
  std::string_view finish();

  /// A stop text came up: what was returned ends just before the earliest.
  bool stopped() const noexcept { return stopped_; }

 private:
  std::string_view release(std::size_t held_back);

  std::vector<std::string> stop_texts_;
  Utf8Stream utf8_;
  std::string held_;   ///< not yet returned
  std::string shown_;  ///< what the last call returned
  bool stopped_ = false;
};

}  // namespace onebit::runtime
