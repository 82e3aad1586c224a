// Text <-> token ids. One interface over byte-level BPE and SentencePiece (BPE and unigram).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::text {

using TokenId = std::int32_t;

struct EncodeOptions {
  bool add_special = true;  ///< BOS/EOS as the tokenizer's own configuration says
  bool parse_special =
      false;  ///< recognise control tokens such as <|im_start|> written in the text
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Any bytes are accepted: invalid UTF-8 is encoded as the reference does, never an error.
  virtual std::vector<TokenId> encode(std::string_view text,
                                      const EncodeOptions& options) const = 0;

  /// The bytes of the ids, control tokens left out when skip_special. Ids out of range throw
  /// Error{kInvalidArgument}.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special) const = 0;

  /// The bytes that id adds in the middle of a text (for streaming; may be half a character).
  virtual std::string piece(TokenId id) const = 0;

  virtual std::int64_t vocab_size() const = 0;
  virtual TokenId bos() const = 0;                ///< -1: none
  virtual TokenId eos() const = 0;                ///< -1: none
  virtual bool adds_bos() const = 0;              ///< encode() with add_special begins with BOS
  virtual bool is_end(TokenId id) const = 0;      ///< EOS, EOT, <|im_end|> ...: generation stops
  virtual bool is_control(TokenId id) const = 0;  ///< never part of ordinary text
};

/// A token's kind, numbered as in GGUF's tokenizer.ggml.token_type.
enum class TokenType : std::int32_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// A tokenizer as data: what GGUF metadata holds, and what a HF tokenizer.json is turned into.
struct TokenizerData {
  std::string model;  ///< "gpt2" (byte-level BPE) or "llama" (SentencePiece)
  std::string pre;    ///< pre-tokenizer name as in GGUF: "smollm", "llama-bpe", "gpt-2"
  std::vector<std::string> tokens;  ///< as stored: byte-level alphabet, or SentencePiece pieces
  std::vector<TokenType> types;     ///< empty: all kNormal
  std::vector<float> scores;        ///< SentencePiece only
  std::vector<std::string> merges;  ///< BPE only: "left right", best first
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId eot = -1;
  TokenId unk = -1;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = true;  ///< SentencePiece: prepend a space
};

/// Throws Error{kUnsupported} for an unknown model or pre-tokenizer, Error{kCorrupt} for data that
/// contradicts itself (a merge of unknown tokens, a special id out of range, sizes that differ).
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerData data);

/// From the text of a Hugging Face tokenizer.json, and of tokenizer_config.json ("" if absent).
TokenizerData parse_tokenizer_json(std::string_view tokenizer_json, std::string_view config_json);

/// From the bytes of a SentencePiece tokenizer.model, read through the SentencePiece library.
TokenizerData parse_sentencepiece(std::string_view model);

}  // namespace onebit::text
