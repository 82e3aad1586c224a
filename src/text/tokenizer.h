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
  /// Error{kInvalidArgument}. Of encode()'s ids this is the text again, up to normalisation:
  /// - byte-level: NFC, where the model has it; a byte that has no token is lost (trained
  ///   vocabularies may lack those that no text holds);
  /// - SentencePiece: U+2581 becomes a space, a byte that is no part of a character U+FFFD, and
  /// what
  ///   has neither piece nor byte tokens the unknown piece; the first space is lost where
  ///   SpacePrefix says "unless space"; a tokenizer.model may have a normaliser beyond this.
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

/// Where "llama" models put the space that is not in the text. A segment is what lies between two
/// control tokens, or between the text's ends and one.
enum class SpacePrefix : std::uint8_t {
  kSegments,             ///< before every segment (SentencePiece, HF's normalizer Prepend)
  kSegmentsUnlessSpace,  ///< unless the segment begins with one (HF's Metaspace, "always")
  kStartUnlessSpace,     ///< only before the text, unless it begins with one (Metaspace, "first")
};

/// A tokenizer as data: what GGUF metadata holds, and what a HF tokenizer.json is turned into.
struct TokenizerData {
  std::string model;  ///< "gpt2" (byte-level BPE), "llama" (SentencePiece's BPE) or "t5" (unigram)
  std::string pre;    ///< pre-tokenizer name as in GGUF: "smollm", "llama-bpe", "gpt-2"
  std::vector<std::string> tokens;  ///< as stored: byte-level alphabet, or SentencePiece pieces
  std::vector<TokenType> types;     ///< empty: control and byte tokens are told by id and text
  std::vector<float> scores;        ///< "llama" only; unused when there are merges
  /// "left right", best first. "gpt2" needs them; "llama" merges by score without them, and as
  /// HF's BPE with them.
  std::vector<std::string> merges;
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId eot = -1;
  TokenId unk = -1;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = true;                       ///< "llama": prepend a space
  SpacePrefix space_prefix = SpacePrefix::kSegments;  ///< where, if add_space_prefix

  /// Pre-tokenizer as regular expressions, used instead of `pre` when there are any. Each one in
  /// turn cuts every piece into its matches and what lies between them.
  std::vector<std::string> split_regexes;
  /// "gpt2": normalise to NFC first, by Unicode 14. HF tokenizers' tables are Unicode 9's, so that
  /// it leaves some hundred younger combining marks in their order.
  bool nfc = false;
  bool ignore_merges =
      false;  ///< "gpt2": a piece that is a token needs no merges ("llama-bpe" sets)
  /// User-defined tokens found before normalisation; the others are found after it.
  std::vector<TokenId> unnormalized;
  /// The bytes of a SentencePiece tokenizer.model: the library then encodes. "t5" needs them.
  std::string sentencepiece_model;
};

/// Throws Error{kUnsupported} for an unknown model or pre-tokenizer, Error{kCorrupt} for data that
/// contradicts itself (a merge of unknown tokens, a special id out of range, sizes that differ).
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerData data);

/// From the text of a Hugging Face tokenizer.json, and of tokenizer_config.json ("" if absent).
/// BPE only, byte-level or with byte fallback. Throws Error{kUnsupported} that names the component
/// outside what this program handles, Error{kCorrupt} for text that is no tokenizer.
TokenizerData parse_tokenizer_json(std::string_view tokenizer_json, std::string_view config_json);

/// The texts of the files that lie beside a vocabulary without tokenizer.json; "" if absent.
struct HfOptions {
  std::string_view tokenizer_config = {};
  std::string_view added_tokens = {};        ///< added_tokens.json
  std::string_view special_tokens_map = {};  ///< special_tokens_map.json
};

/// From GPT-2's pair of files, vocab.json and merges.txt (OPT has such). Added tokens are found in
/// the text before all else, as by transformers' Python tokenizers. Errors as above.
TokenizerData parse_vocab_merges(std::string_view vocab_json, std::string_view merges_txt,
                                 const HfOptions& options);

/// From Llama 3's tokenizer.model in tiktoken's form, a line "base64 rank" a token, and the 256
/// control tokens that Llama 3's own code appends. Throws Error{kCorrupt}.
TokenizerData parse_tiktoken(std::string_view ranks);

/// From the bytes of a SentencePiece tokenizer.model (BPE or unigram), read through the
/// SentencePiece library, which then encodes all but added tokens. Throws Error{kCorrupt,
/// kUnsupported}.
TokenizerData parse_sentencepiece(std::string_view model, const HfOptions& options = {});

}  // namespace onebit::text
