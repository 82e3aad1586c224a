// SentencePiece's BPE over a vocabulary as data. Without merges it follows the SentencePiece
// library (spaces escaped, a pair merges if its concatenation is a piece, best score first); with
// merges it follows HF's BPE with byte fallback, into which Llama 2's tokenizer.json turns the same
// model.
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "text/byte_token.h"
#include "text/pair_table.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_base.h"
#include "text/unicode.h"
#include "text/word_cache.h"

namespace onebit::text {
namespace {

/// True when a piece goes on with a space after something else. Without such pieces no merge
/// crosses the border before a space, and text can be merged word by word.
bool crosses_words(std::string_view piece) {
  std::size_t at = 0;
  while (piece.substr(at).starts_with(kSpaceSymbol)) at += kSpaceSymbol.size();
  return piece.find(kSpaceSymbol, at) != std::string_view::npos;
}

/// How an unused piece came about in a word: its text, and the bytes of its left part.
using Splits = std::unordered_map<std::string_view, std::size_t>;

class SentencePieceBpe final : public SentencePieceBase {
 public:
  explicit SentencePieceBpe(TokenizerData data)
      : SentencePieceBase(data),
        prefix_(data.space_prefix),
        scores_(std::move(data.scores)),
        merges_(read_merges(data.merges)),
        by_score_(data.merges.empty()) {
    if (by_score_) check_scores();
    byte_ids_.fill(-1);
    const auto size = static_cast<TokenId>(vocab_size());
    for (TokenId id = 0; id < size; ++id) add_piece(id);
    has_bytes_ = std::find(byte_ids_.begin(), byte_ids_.end(), -1) == byte_ids_.end();
    for (const TokenId id : normalized_tokens()) {
      // The library looks for the piece as it is stored, HF for what the text would become.
      normalized_.add(by_score_ ? token(id) : normalize(token(id), SegmentPlace::kStart), id);
    }
    build_pieces();
  }

 private:
  void check_scores() const {
    if (scores_.size() != static_cast<std::size_t>(vocab_size())) {
      throw Error(ErrorCode::kCorrupt, fmt::format("tokenizer: found {} scores, expected {}",
                                                   scores_.size(), vocab_size()));
    }
    const auto nan =
        std::find_if(scores_.begin(), scores_.end(), [](float score) { return std::isnan(score); });
    if (nan != scores_.end()) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer: score of token {}: found NaN, expected a number",
                              nan - scores_.begin()));
    }
  }

  void add_piece(TokenId id) {
    if (type(id) == TokenType::kByte) {
      if (const auto byte = parse_byte_token(token(id))) {
        if (byte_ids_[*byte] < 0) byte_ids_[*byte] = id;
      }
    }
    // Control and unknown pieces are no text; unused ones exist only on the way to others.
    if (type(id) == TokenType::kNormal || type(id) == TokenType::kUnused ||
        type(id) == TokenType::kUserDefined) {
      pieces_by_text_.try_emplace(token(id), id);
      longest_ = std::max(longest_, static_cast<std::int32_t>(token(id).size()));
      by_words_ = by_words_ && !crosses_words(token(id));
    }
  }

  std::string normalize(std::string_view segment, SegmentPlace place) const {
    std::string text = replace_all(replace_invalid_utf8(segment, kReplacement), " ", kSpaceSymbol);
    const bool spaced = text.starts_with(kSpaceSymbol);
    const bool here = prefix_ == SpacePrefix::kSegments ||
                      (!spaced && (prefix_ == SpacePrefix::kSegmentsUnlessSpace ||
                                   place == SegmentPlace::kStart));
    if (space_prefix() && here) text.insert(0, kSpaceSymbol);
    return text;
  }

  void encode_segment(std::string_view segment, SegmentPlace place,
                      std::vector<TokenId>& ids) const override {
    const std::string text = normalize(segment, place);
    WordCache cache;
    split_at_tokens(
        normalized_, text,
        [&](std::string_view part) {
          for (std::size_t at = 0; at < part.size();) {
            const std::size_t size = by_words_ ? word_size(part.substr(at)) : part.size();
            const std::string_view word = part.substr(at, size);
            cache.encode(word, ids, [&] { encode_word(word, ids); });
            at += size;
          }
        },
        [&](TokenId id) { ids.push_back(id); });
  }

  /// Spaces, then what is none, up to the next space.
  static std::size_t word_size(std::string_view text) {
    std::size_t at = 0;
    while (text.substr(at).starts_with(kSpaceSymbol)) at += kSpaceSymbol.size();
    return std::min(text.find(kSpaceSymbol, at), text.size());
  }

  void encode_word(std::string_view word, std::vector<TokenId>& ids) const {
    std::vector<Symbol> symbols;
    for (std::size_t at = 0; at < word.size();) {
      // normalize() has left nothing ill-formed, but a user-defined piece may cut a character.
      const std::size_t size = std::max<std::size_t>(1, utf8_char_size(word, at));
      append_symbol(symbols, static_cast<std::int32_t>(size), find_piece(word.substr(at, size)));
      at += size;
    }
    Splits splits;
    if (by_score_) {
      merge_symbols<float>(symbols, [&](const Symbol& left, const Symbol& right) {
        return merge_by_score(word, left, right, splits);
      });
    } else {
      merge_symbols<std::int32_t>(symbols, [&](const Symbol& left, const Symbol& right) {
        return merges_.find(left.id, right.id);
      });
    }
    bool after_unknown = false;
    for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
      const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
      const std::string_view text = word.substr(static_cast<std::size_t>(symbol.begin),
                                                static_cast<std::size_t>(symbol.size));
      if (!by_score_ && symbol.id >= 0) {
        // Not by its text: merges may lead to a byte token's, too.
        ids.push_back(symbol.id);
        after_unknown = false;
      } else {
        emit(text, splits, after_unknown, ids);
      }
    }
  }

  TokenId find_piece(std::string_view text) const {
    const auto it = pieces_by_text_.find(text);
    return it == pieces_by_text_.end() ? -1 : it->second;
  }

  std::optional<Merge<float>> merge_by_score(std::string_view word, const Symbol& left,
                                             const Symbol& right, Splits& splits) const {
    const std::int32_t size = left.size + right.size;
    if (size > longest_) return std::nullopt;
    const std::string_view text =
        word.substr(static_cast<std::size_t>(left.begin), static_cast<std::size_t>(size));
    const TokenId id = find_piece(text);
    if (id < 0) return std::nullopt;
    if (type(id) == TokenType::kUnused) splits[text] = static_cast<std::size_t>(left.size);
    return Merge<float>{-scores_[static_cast<std::size_t>(id)], id};
  }

  /// An unused piece is taken apart again; text that is no piece becomes bytes, or one unknown
  /// token for all of a run.
  void emit(std::string_view text, const Splits& splits, bool& after_unknown,
            std::vector<TokenId>& ids) const {
    std::vector<std::string_view> parts = {text};
    while (!parts.empty()) {
      const std::string_view part = parts.back();
      parts.pop_back();
      const TokenId id = find_piece(part);
      const auto split = splits.find(part);
      if (id >= 0 && split != splits.end()) {
        parts.push_back(part.substr(split->second));
        parts.push_back(part.substr(0, split->second));
        continue;
      }
      if (id >= 0) {
        ids.push_back(id);
      } else if (has_bytes_) {
        for (const char byte : part) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
      } else if (unk() >= 0 && !after_unknown) {
        ids.push_back(unk());
      }
      after_unknown = id < 0;
    }
  }

  SpacePrefix prefix_;
  std::vector<float> scores_;
  PairTable merges_;
  bool by_score_;
  bool by_words_ = true;
  bool has_bytes_ = false;
  std::int32_t longest_ = 0;  ///< bytes of the longest piece
  std::array<TokenId, 256> byte_ids_{};
  std::unordered_map<std::string_view, TokenId> pieces_by_text_;  ///< views of the tokens
  TokenTrie normalized_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_bpe(TokenizerData data) {
  return std::make_unique<SentencePieceBpe>(std::move(data));
}

}  // namespace onebit::text
