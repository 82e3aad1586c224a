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
/// where it says; "" says nothing. Throws Error{kCorrupt}.
void apply_tokenizer_config(std::string_view config_json, TokenizerData& data);

}  // namespace onebit::text
