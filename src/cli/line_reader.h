// Lines from standard input that a signal can interrupt.
#pragma once

#include <optional>
#include <string>

namespace onebit::cli {

class LineReader {
 public:
  /// Reads `input`; `wake` is a descriptor that becomes readable when reading must stop.
  LineReader(int input, int wake) : input_(input), wake_(wake) {}

  /// The next line without its newline; a last line needs none. Nothing at the end of input.
  /// Throws Error{kInterrupted} when woken, Error{kIo} when the input cannot be read.
  std::optional<std::string> next();

 private:
  int input_;
  int wake_;
  std::string buffer_;  ///< read but not handed out
  bool ended_ = false;
};

}  // namespace onebit::cli
