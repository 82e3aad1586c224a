// The tokens of a vocabulary and the frame of encoding and decoding.
#include "text/vocabulary.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "text/byte_token.h"
#include "text/quote.h"

namespace onebit::text {
namespace {

/// Control tokens with these texts end a turn or a text, whatever the model calls its EOS; the list
/// is llama.cpp's, without its fill-in-the-middle tokens.
constexpr std::array<std::string_view, 13> kEndTexts = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<EOT>",
    "_<EOT>",
    "<|end_of_text|>",
    "<|endofturn|>",
    "<end_of_utterance>",
};

}  // namespace

VocabularyTokenizer::VocabularyTokenizer(TokenizerData& data)
    : tokens_(std::move(data.tokens)),
      types_(std::move(data.types)),
      bos_(data.bos),
      eos_(data.eos),
      eot_(data.eot),
      unk_(data.unk),
      add_bos_(data.add_bos && data.bos >= 0),
      add_eos_(data.add_eos && data.eos >= 0) {
  if (tokens_.empty()) {
    throw Error(ErrorCode::kCorrupt, "tokenizer: found no tokens, expected at least one");
  }
  if (tokens_.size() > static_cast<std::size_t>(std::numeric_limits<TokenId>::max())) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("tokenizer: found {} tokens, expected ids of 31 bits", tokens_.size()));
  }
  check_special_id(bos_, "BOS");
  check_special_id(eos_, "EOS");
  check_special_id(eot_, "EOT");
  check_special_id(unk_, "unknown");
  if (types_.empty()) {
    infer_types(data);
  } else if (types_.size() != tokens_.size()) {
    throw Error(ErrorCode::kCorrupt, fmt::format("tokenizer: found {} token types, expected {}",
                                                 types_.size(), tokens_.size()));
  }
  ids_.reserve(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    ids_.try_emplace(tokens_[i], static_cast<TokenId>(i));
  }
  build_tries(data);
  find_ends();
}

void VocabularyTokenizer::check_special_id(TokenId id, const char* name) const {
  if (id < -1 || (id >= 0 && static_cast<std::size_t>(id) >= tokens_.size())) {
    throw Error(ErrorCode::kCorrupt, fmt::format("tokenizer: {} token: found id {}, expected 0 to "
                                                 "{}, or none",
                                                 name, id, tokens_.size() - 1));
  }
}

void VocabularyTokenizer::infer_types(const TokenizerData& data) {
  types_.assign(tokens_.size(), TokenType::kNormal);
  if (data.model != "gpt2") {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (parse_byte_token(tokens_[i])) types_[i] = TokenType::kByte;
    }
    if (unk_ >= 0) types_[static_cast<std::size_t>(unk_)] = TokenType::kUnknown;
  }
  for (const TokenId id : {bos_, eos_, eot_}) {
    if (id >= 0) types_[static_cast<std::size_t>(id)] = TokenType::kControl;
  }
}

void VocabularyTokenizer::build_tries(const TokenizerData& data) {
  const std::unordered_set<TokenId> unnormalized(data.unnormalized.begin(),
                                                 data.unnormalized.end());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (types_[i] == TokenType::kUserDefined) {
      if (unnormalized.contains(id)) {
        user_defined_.add(tokens_[i], id);
        all_special_.add(tokens_[i], id);
      } else {
        normalized_tokens_.push_back(id);
      }
    } else if (types_[i] == TokenType::kControl || types_[i] == TokenType::kUnknown) {
      all_special_.add(tokens_[i], id);
    }
  }
}

void VocabularyTokenizer::find_ends() {
  ends_.assign(tokens_.size(), false);
  for (const TokenId id : {eos_, eot_}) {
    if (id >= 0) ends_[static_cast<std::size_t>(id)] = true;
  }
  for (const std::string_view text : kEndTexts) {
    const TokenId id = find(text);
    if (id >= 0 && type(id) == TokenType::kControl) ends_[static_cast<std::size_t>(id)] = true;
  }
}

TokenId VocabularyTokenizer::find(std::string_view token_text) const {
  const auto it = ids_.find(token_text);
  return it == ids_.end() ? -1 : it->second;
}

PairTable VocabularyTokenizer::read_merges(const std::vector<std::string>& merges) const {
  PairTable table(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    // Tokens hold no space, which vocabularies write as another character.
    const std::size_t space = merge.find(' ', 1);
    TokenId left = -1;
    TokenId right = -1;
    TokenId whole = -1;
    if (space != std::string_view::npos) {
      left = find(merge.substr(0, space));
      right = find(merge.substr(space + 1));
      whole = find(std::string(merge.substr(0, space)).append(merge.substr(space + 1)));
    }
    if (left < 0 || right < 0 || whole < 0) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer: merge {} of {}: found {}, expected two tokens whose "
                              "concatenation is a token",
                              rank, merges.size(), in_quotes(merge)));
    }
    table.insert(left, right, {static_cast<std::int32_t>(rank), whole});
  }
  return table;
}

void VocabularyTokenizer::build_pieces() {
  pieces_.reserve(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    // Control tokens are written as they are, not in the vocabulary's alphabet.
    pieces_.push_back(types_[i] == TokenType::kControl ? token(id) : decode_token(id));
  }
}

std::vector<TokenId> VocabularyTokenizer::encode(std::string_view text,
                                                 const EncodeOptions& options) const {
  // Positions are 32-bit inside; normalisation may make text three times as long.
  if (text.size() > std::numeric_limits<std::int32_t>::max() / 4) {
    throw Error(ErrorCode::kResource, fmt::format("text to tokenise: found {} bytes, expected at "
                                                  "most 512 MB at once",
                                                  text.size()));
  }
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 2);
  if (options.add_special && add_bos_) ids.push_back(bos_);
  const TokenTrie& trie = options.parse_special ? all_special_ : user_defined_;
  SegmentPlace place = SegmentPlace::kStart;
  split_at_tokens(
      trie, text,
      [&](std::string_view segment) {
        encode_segment(segment, place, ids);
        place = SegmentPlace::kAfterToken;
      },
      [&](TokenId id) {
        ids.push_back(id);
        place = SegmentPlace::kAfterToken;
      });
  if (options.add_special && add_eos_) ids.push_back(eos_);
  return ids;
}

std::string VocabularyTokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string result;
  for (const TokenId id : ids) {
    check_id(id);
    if (skip_special && is_control(id)) continue;
    result += pieces_[static_cast<std::size_t>(id)];
  }
  return result;
}

std::string VocabularyTokenizer::piece(TokenId id) const {
  check_id(id);
  return pieces_[static_cast<std::size_t>(id)];
}

bool VocabularyTokenizer::is_end(TokenId id) const {
  check_id(id);
  return ends_[static_cast<std::size_t>(id)];
}

bool VocabularyTokenizer::is_control(TokenId id) const {
  check_id(id);
  return type(id) == TokenType::kControl;
}

void VocabularyTokenizer::check_id(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= tokens_.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("token id: found {}, expected 0 to {}", id, tokens_.size() - 1));
  }
}

}  // namespace onebit::text
