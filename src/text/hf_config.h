// What Hugging Face's tokenizer files have in common: a vocabulary by id, and
// tokenizer_config.json.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/json_reader.h"
#include "text/tokenizer.h"

namespace onebit::text {

/// Fills data.tokens and data.types from {"token": id}; ids in `extra` exist too. Ids without a
/// token become unused ones. Throws Error{kCorrupt}.
void read_vocabulary(const Json& vocab, const std::vector<TokenId>& extra, std::string_view file,
                     TokenizerData& data);

/// Normal tokens written "<0x0A>" become byte tokens.
void mark_byte_tokens(TokenizerData& data);

/// The id of a token's text. Throws Error{kCorrupt} where there is none.
TokenId require_token(const TokenizerData& data, std::string_view text, std::string_view file,
                      std::string_view where);

/// Takes BOS, EOS and unknown token and whether BOS and EOS are added from tokenizer_config.json,
/// where it says; "" says nothing. A BOS or EOS that data adds already is kept if template_decides.
/// Throws Error{kCorrupt}.
void apply_tokenizer_config(std::string_view config_json, bool template_decides,
                            TokenizerData& data);

/// A token found in text as a whole.
struct AddedToken {
  TokenId id = -1;
  std::string text;
  bool special = false;
  bool normalized = false;
};

/// One token's "content" and flags. Throws Error{kUnsupported} for flags that take the blanks
/// around it or want a word's borders.
AddedToken read_added_token(const Json& token, TokenId id, std::string_view file,
                            std::string_view where);

/// As transformers' Python tokenizers read these files: the tokens of added_tokens_decoder, or
/// without it those of added_tokens.json, which are special where another file names them so; then
/// apply_tokenizer_config. Throws Error{kCorrupt, kUnsupported}.
void apply_hf_options(const HfOptions& options, TokenizerData& data);

}  // namespace onebit::text
