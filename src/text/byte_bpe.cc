// Byte-level BPE (GPT-2, SmolLM2, Llama 3, GPT-NeoX, OPT): every byte has a token, so any text can
// be encoded, and pre-tokens are merged by rank.
#include "text/byte_bpe.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/byte_token.h"
#include "text/pair_table.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"
#include "text/vocabulary.h"
#include "text/word_cache.h"

namespace onebit::text {
namespace {

PreTokenizerSpec pre_tokenizer_of(const TokenizerData& data) {
  PreTokenizerSpec spec;
  if (data.split_regexes.empty()) {
    spec = pre_tokenizer_by_name(data.pre);
  } else {
    spec.regexes = data.split_regexes;
  }
  spec.ignore_merges |= data.ignore_merges;
  return spec;
}

class ByteBpe final : public VocabularyTokenizer {
 public:
  explicit ByteBpe(TokenizerData data) : ByteBpe(data, pre_tokenizer_of(data)) {}

 private:
  ByteBpe(TokenizerData& data, const PreTokenizerSpec& spec)
      : VocabularyTokenizer(data),
        pre_tokenizer_(spec.regexes),
        ignore_merges_(spec.ignore_merges),
        nfc_(data.nfc),
        merges_(read_merges(data.merges)) {
    for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
      byte_ids_[byte] = find(byte_alphabet()[byte]);
    }
    build_pieces();
    if (ignore_merges_) {
      for (std::size_t i = 0; i < pieces().size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        if (type(id) == TokenType::kNormal) by_bytes_.try_emplace(pieces()[i], id);
      }
    }
    for (const TokenId id : normalized_tokens()) {
      normalized_.add(nfc_ ? nfc(token(id)) : token(id), id);
    }
  }

  std::string decode_token(TokenId id) const override {
    // Added tokens are stored as they are, not in the alphabet.
    if (type(id) == TokenType::kUserDefined) return token(id);
    return from_byte_alphabet(token(id)).value_or(token(id));
  }

  void encode_segment(std::string_view segment, SegmentPlace,
                      std::vector<TokenId>& ids) const override {
    std::string normal;
    if (nfc_) {
      normal = nfc(segment);
      segment = normal;
    }
    WordCache cache;
    split_at_tokens(
        normalized_, segment,
        [&](std::string_view text) {
          for (const std::string_view word : pre_tokenizer_.split(text)) {
            cache.encode(word, ids, [&] { encode_word(word, ids); });
          }
        },
        [&](TokenId id) { ids.push_back(id); });
  }

  void encode_word(std::string_view word, std::vector<TokenId>& ids) const {
    if (ignore_merges_) {
      const auto it = by_bytes_.find(word);
      if (it != by_bytes_.end()) {
        ids.push_back(it->second);
        return;
      }
    }
    std::vector<Symbol> symbols;
    symbols.reserve(word.size());
    for (std::size_t at = 0; at < word.size(); ++at) append_byte(word, at, symbols);
    if (symbols.empty()) return;
    merge_symbols<std::int32_t>(symbols, [this](const Symbol& left, const Symbol& right) {
      return merges_.find(left.id, right.id);
    });
    for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
      ids.push_back(symbols[static_cast<std::size_t>(i)].id);
    }
  }

  /// Trained vocabularies may lack bytes that their training text never had. Such a byte of a
  /// well-formed character is left out, as HF's BPE does without an unknown token; one that is no
  /// part of a character, which HF never sees, becomes U+FFFD.
  void append_byte(std::string_view word, std::size_t at, std::vector<Symbol>& symbols) const {
    const TokenId id = byte_ids_[static_cast<unsigned char>(word[at])];
    if (id >= 0) {
      append_symbol(symbols, 1, id);
    } else if (!inside_character(word, at)) {
      for (const char byte : kReplacement) {
        const TokenId part = byte_ids_[static_cast<unsigned char>(byte)];
        if (part >= 0) append_symbol(symbols, 1, part);
      }
    }
  }

  static bool inside_character(std::string_view word, std::size_t at) {
    for (std::size_t back = 0; back < 4 && back <= at; ++back) {
      if (utf8_char_size(word, at - back) > back) return true;
    }
    return false;
  }

  PreTokenizer pre_tokenizer_;
  bool ignore_merges_;
  bool nfc_;
  PairTable merges_;
  std::array<TokenId, 256> byte_ids_{};
  std::unordered_map<std::string_view, TokenId> by_bytes_;  ///< views into pieces()
  TokenTrie normalized_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_bpe(TokenizerData data) {
  return std::make_unique<ByteBpe>(std::move(data));
}

}  // namespace onebit::text
