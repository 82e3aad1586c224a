// What the fuzzers of tokenizers share: choices read from the input, and what every tokenizer must
// hold to, whatever it was made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/tokenizer.h"

namespace onebit::text {

/// The input, read from its front; zeros when it is spent.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size)
      : left_(reinterpret_cast<const char*>(data), size) {}

  /// 0 to bound - 1, for a bound of at most 65536.
  std::size_t below(std::size_t bound) {
    std::size_t value = byte();
    if (bound > 256) value = value * 256 + byte();
    return value % bound;
  }

  bool flag() { return below(2) == 1; }

  std::string_view rest() const { return left_; }

 private:
  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const char c = left_.front();
    left_.remove_prefix(1);
    return static_cast<std::uint8_t>(c);
  }

  std::string_view left_;
};

/// Encodes text with every option and decodes it: ids are in the vocabulary, and decoding is the
/// pieces in order, but for the space that SentencePiece puts before a text.
inline void exercise(const Tokenizer& tokenizer, std::string_view text) {
  for (const EncodeOptions& options :
       {EncodeOptions{true, true}, EncodeOptions{false, true}, EncodeOptions{false, false}}) {
    const auto ids = tokenizer.encode(text, options);
    std::string pieces;
    for (const TokenId id : ids) {
      ONEBIT_CHECK(id >= 0 && id < tokenizer.vocab_size());
      pieces += tokenizer.piece(id);
    }
    ONEBIT_CHECK(pieces.ends_with(tokenizer.decode(ids, /*skip_special=*/false)) ||
                 tokenizer.is_control(ids.front()));
    tokenizer.decode(ids, /*skip_special=*/true);
  }
}

}  // namespace onebit::text
