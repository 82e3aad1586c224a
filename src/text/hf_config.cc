// Vocabulary objects and tokenizer_config.json.
#include "text/hf_config.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <set>

#include "base/error.h"
#include "text/byte_token.h"
#include "text/quote.h"

namespace onebit::text {
namespace {

constexpr const char* kConfig = "tokenizer_config.json";

/// A few gaps between ids are common, a wild id would fill the memory.
constexpr std::size_t kMostGaps = 65536;

/// The id of a token that the configuration names, as a string or as {"content": string}; nothing
/// when it names none, or one that is not in the vocabulary.
TokenId configured_token(const Json& config, const char* name, const TokenizerData& data,
                         TokenId otherwise) {
  const Json& value = member(config, name);
  const Json& text = value.is_object() ? member(value, "content") : value;
  if (!text.is_string()) return otherwise;
  const auto it = std::find(data.tokens.begin(), data.tokens.end(), text.get<std::string>());
  return it == data.tokens.end() ? otherwise : static_cast<TokenId>(it - data.tokens.begin());
}

/// The special tokens that a file names, each as a string or as {"content": string}.
void read_special_names(const Json& json, std::set<std::string>& names) {
  const auto add = [&](const Json& value) {
    const Json& text = value.is_object() ? member(value, "content") : value;
    if (text.is_string()) names.insert(text.get<std::string>());
  };
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    add(member(json, name));
  }
  for (const char* name : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!member(json, name).is_array()) continue;
    for (const Json& value : member(json, name)) add(value);
  }
}

/// The ids in added_tokens_decoder are its keys.
TokenId id_of_key(const std::string& key) {
  TokenId id = -1;
  const char* const end = key.data() + key.size();
  const auto [stop, error] = std::from_chars(key.data(), end, id);
  if (error != std::errc() || stop != end || id < 0) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: added_tokens_decoder: found key {}, expected a token id", kConfig,
                            in_quotes(key)));
  }
  return id;
}

std::vector<AddedToken> read_added_tokens(const HfOptions& options, const Json& config,
                                          const std::set<std::string>& special) {
  constexpr const char* kAdded = "added_tokens.json";
  std::vector<AddedToken> result;
  if (const Json& decoder = member(config, "added_tokens_decoder"); !decoder.is_null()) {
    for (const auto& [key, token] :
         require_object(decoder, kConfig, "added_tokens_decoder").items()) {
      result.push_back(read_added_token(token, id_of_key(key), kConfig, "added_tokens_decoder"));
    }
  } else if (!options.added_tokens.empty()) {
    const Json ids = parse_json(options.added_tokens, kAdded);
    for (const auto& [text, id] : ids.items()) {
      result.push_back({to_id(id, kAdded, in_quotes(text)), text, special.contains(text), false});
    }
  }
  return result;
}

/// Ids between the vocabulary's and the tokens' become unused ones.
void add_tokens(const std::vector<AddedToken>& added, TokenizerData& data) {
  const std::size_t most = data.tokens.size() + added.size() + kMostGaps;
  for (const AddedToken& token : added) {
    const auto at = static_cast<std::size_t>(token.id);
    if (at >= most) {
      throw Error(ErrorCode::kCorrupt, fmt::format("added token {}: found id {}, expected below {}",
                                                   in_quotes(token.text), at, most));
    }
    while (data.tokens.size() <= at) {
      data.tokens.push_back(fmt::format("[PAD{}]", data.tokens.size()));
    }
    data.types.resize(data.tokens.size(), TokenType::kUnused);
    data.tokens[at] = token.text;
    if (data.types[at] == TokenType::kUnknown) continue;
    data.types[at] = token.special ? TokenType::kControl : TokenType::kUserDefined;
    if (!token.special) data.unnormalized.push_back(token.id);
  }
  constexpr float kUnusedScore = -1000.0F;  // llama.cpp's converter's
  if (!data.scores.empty()) data.scores.resize(data.tokens.size(), kUnusedScore);
}

}  // namespace

void read_vocabulary(const Json& vocab, const std::vector<TokenId>& extra, std::string_view file,
                     TokenizerData& data) {
  require_object(vocab, file, "vocab");
  TokenId last = -1;
  for (const auto& [text, id] : vocab.items()) last = std::max(last, to_id(id, file, "vocab"));
  for (const TokenId id : extra) last = std::max(last, id);
  const std::size_t size = static_cast<std::size_t>(last) + 1;
  const std::size_t known = vocab.size() + extra.size();
  if (size > known + kMostGaps) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: vocab: found id {} among {} tokens", file, last, known));
  }
  data.tokens.assign(size, "");
  data.types.assign(size, TokenType::kUnused);
  for (const auto& [text, value] : vocab.items()) {
    const auto id = value.get<std::size_t>();
    if (data.types[id] != TokenType::kUnused) {
      throw Error(ErrorCode::kCorrupt, fmt::format("{}: vocab: found id {} twice", file, id));
    }
    data.tokens[id] = text;
    data.types[id] = TokenType::kNormal;
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (data.types[i] == TokenType::kUnused) data.tokens[i] = fmt::format("[PAD{}]", i);
  }
}

void mark_byte_tokens(TokenizerData& data) {
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] == TokenType::kNormal && parse_byte_token(data.tokens[i])) {
      data.types[i] = TokenType::kByte;
    }
  }
}

TokenId require_token(const TokenizerData& data, std::string_view text, std::string_view file,
                      std::string_view where) {
  const auto it = std::find(data.tokens.begin(), data.tokens.end(), text);
  if (it == data.tokens.end()) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}: found {}, which is not in the vocabulary",
                                                 file, where, in_quotes(text)));
  }
  return static_cast<TokenId>(it - data.tokens.begin());
}

void apply_tokenizer_config(std::string_view config_json, bool template_decides,
                            TokenizerData& data) {
  if (config_json.empty()) return;
  const Json config = parse_json(config_json, kConfig);
  if (!template_decides || !data.add_bos) {
    data.bos = configured_token(config, "bos_token", data, data.bos);
  }
  if (!template_decides || !data.add_eos) {
    data.eos = configured_token(config, "eos_token", data, data.eos);
  }
  data.unk = configured_token(config, "unk_token", data, data.unk);
  data.add_bos = get_bool(config, "add_bos_token", kConfig).value_or(data.add_bos);
  data.add_eos = get_bool(config, "add_eos_token", kConfig).value_or(data.add_eos);
}

AddedToken read_added_token(const Json& token, TokenId id, std::string_view file,
                            std::string_view where) {
  AddedToken result;
  result.id = id;
  result.text = require_string(token, "content", file, where);
  result.special = get_bool(token, "special", file).value_or(false);
  result.normalized = get_bool(token, "normalized", file).value_or(!result.special);
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    if (get_bool(token, flag, file).value_or(false)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: {}: found {} of {}, which is not supported", file, where, flag,
                              in_quotes(result.text)));
    }
  }
  return result;
}

void apply_hf_options(const HfOptions& options, TokenizerData& data) {
  const Json config =
      options.tokenizer_config.empty() ? Json() : parse_json(options.tokenizer_config, kConfig);
  std::set<std::string> special;
  read_special_names(config, special);
  if (!options.special_tokens_map.empty()) {
    read_special_names(parse_json(options.special_tokens_map, "special_tokens_map.json"), special);
  }
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.types[i] == TokenType::kNormal && special.contains(data.tokens[i])) {
      data.types[i] = TokenType::kControl;
    }
  }
  add_tokens(read_added_tokens(options, config, special), data);
  apply_tokenizer_config(options.tokenizer_config, /*template_decides=*/false, data);
}

}  // namespace onebit::text
