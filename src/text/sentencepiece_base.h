// What SentencePiece's tokenizers share, whoever encodes: pieces to bytes.
#pragma once

#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace onebit::text {

/// U+2581, which stands for a space in pieces.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// Every occurrence of `from`, not empty, becomes `to`.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

class SentencePieceBase : public VocabularyTokenizer {
 public:
  /// The one space that encode() puts before the text is taken away again.
  std::string decode(std::span<const TokenId> ids, bool skip_special) const final;

 protected:
  explicit SentencePieceBase(TokenizerData& data)
      : VocabularyTokenizer(data), space_prefix_(data.add_space_prefix) {}

  std::string decode_token(TokenId id) const final;

  bool space_prefix() const { return space_prefix_; }

 private:
  /// A space at the piece's front may be the one that encode() put there. It is not in bytes, in
  /// the unknown piece's text, and in tokens that are found before normalisation.
  bool comes_from_spaced_text(TokenId id) const;

  bool space_prefix_;
};

}  // namespace onebit::text
