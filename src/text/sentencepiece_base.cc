// Decoding of SentencePiece's pieces.
#include "text/sentencepiece_base.h"

#include <algorithm>

#include "text/byte_token.h"

namespace onebit::text {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  std::size_t at = 0;
  for (;;) {
    const std::size_t found = text.find(from, at);
    result.append(text, at, found == std::string_view::npos ? found : found - at);
    if (found == std::string_view::npos) return result;
    result += to;
    at = found + from.size();
  }
}

std::string SentencePieceBase::decode_token(TokenId id) const {
  // As the library decodes an unknown piece.
  if (type(id) == TokenType::kUnknown) return " \xE2\x81\x87 ";
  if (type(id) == TokenType::kByte) {
    if (const auto byte = parse_byte_token(token(id))) return {static_cast<char>(*byte)};
  }
  return replace_all(token(id), kSpaceSymbol, " ");
}

bool SentencePieceBase::comes_from_spaced_text(TokenId id) const {
  const auto& normalized = normalized_tokens();
  return type(id) == TokenType::kNormal || type(id) == TokenType::kUnused ||
         std::find(normalized.begin(), normalized.end(), id) != normalized.end();
}

std::string SentencePieceBase::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string result;
  bool strip = space_prefix_;
  for (const TokenId id : ids) {
    check_id(id);
    const bool control = is_control(id);
    if (control && skip_special) continue;
    std::string_view piece = pieces()[static_cast<std::size_t>(id)];
    if (strip && !control) {
      if (comes_from_spaced_text(id) && piece.starts_with(' ')) piece.remove_prefix(1);
      strip = false;
    }
    result += piece;
  }
  return result;
}

}  // namespace onebit::text
