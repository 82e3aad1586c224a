// What every tokenizer shares: the tokens with their kinds and ids, and the frame of encoding, in
// which control and user-defined tokens are cut out of the text before anything else happens.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/pair_table.h"
#include "text/token_trie.h"
#include "text/tokenizer.h"

namespace onebit::text {

/// A segment's place: some models put a space before some segments only.
enum class SegmentPlace : std::uint8_t { kStart, kAfterToken };

class VocabularyTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const final;
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override;
  std::string piece(TokenId id) const final;

  std::int64_t vocab_size() const final { return static_cast<std::int64_t>(tokens_.size()); }
  TokenId bos() const final { return bos_; }
  TokenId eos() const final { return eos_; }
  bool adds_bos() const final { return add_bos_; }
  bool is_end(TokenId id) const final;
  bool is_control(TokenId id) const final;

 protected:
  /// Takes tokens, types and special ids out of `data`. Throws Error{kCorrupt}.
  explicit VocabularyTokenizer(TokenizerData& data);

  /// Appends the ids of text that holds no token to be found before normalisation.
  virtual void encode_segment(std::string_view segment, SegmentPlace place,
                              std::vector<TokenId>& ids) const = 0;

  /// The bytes that a token stands for, unless it is a control token.
  virtual std::string decode_token(TokenId id) const = 0;

  /// Calls decode_token for the ids; the subclass's constructor must end with it.
  void build_pieces();

  const std::string& token(TokenId id) const { return tokens_[static_cast<std::size_t>(id)]; }
  TokenType type(TokenId id) const { return types_[static_cast<std::size_t>(id)]; }

  /// Merges as "left right", best first. Throws Error{kCorrupt} where one of the two or their
  /// concatenation is no token.
  PairTable read_merges(const std::vector<std::string>& merges) const;

  /// The id of a token's text as stored, -1 for none.
  TokenId find(std::string_view token_text) const;

  /// The bytes of every id.
  const std::vector<std::string>& pieces() const { return pieces_; }

  /// Throws Error{kInvalidArgument} for an id out of range.
  void check_id(TokenId id) const;

  TokenId unk() const { return unk_; }

  /// User-defined tokens that are found after normalisation.
  const std::vector<TokenId>& normalized_tokens() const { return normalized_tokens_; }

 private:
  void infer_types(const TokenizerData& data);
  void check_special_id(TokenId id, const char* name) const;
  void build_tries(const TokenizerData& data);
  void find_ends();

  std::vector<std::string> tokens_;
  std::vector<TokenType> types_;
  std::vector<std::string> pieces_;
  std::vector<bool> ends_;
  std::unordered_map<std::string_view, TokenId> ids_;  ///< views into tokens_
  TokenTrie user_defined_;                             ///< found in raw text always
  TokenTrie all_special_;  ///< found in raw text with parse_special: these and control tokens
  std::vector<TokenId> normalized_tokens_;
  TokenId bos_;
  TokenId eos_;
  TokenId eot_;
  TokenId unk_;
  bool add_bos_;
  bool add_eos_;
};

}  // namespace onebit::text
