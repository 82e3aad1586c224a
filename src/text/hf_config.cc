// Vocabulary objects and tokenizer_config.json.
#include "text/hf_config.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/error.h"
#include "text/byte_token.h"
#include "text/quote.h"

namespace onebit::text {
namespace {

constexpr const char* kConfig = "tokenizer_config.json";

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

}  // namespace

void read_vocabulary(const Json& vocab, const std::vector<TokenId>& extra, std::string_view file,
                     TokenizerData& data) {
  require_object(vocab, file, "vocab");
  TokenId last = -1;
  for (const auto& [text, id] : vocab.items()) last = std::max(last, to_id(id, file, "vocab"));
  for (const TokenId id : extra) last = std::max(last, id);
  // A few gaps are common, a wild id would fill the memory.
  const std::size_t size = static_cast<std::size_t>(last) + 1;
  const std::size_t known = vocab.size() + extra.size();
  constexpr std::size_t kMostGaps = 65536;
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

void apply_tokenizer_config(std::string_view config_json, TokenizerData& data) {
  if (config_json.empty()) return;
  const Json config = parse_json(config_json, kConfig);
  // A token that the text's template adds is not put in question by the configuration.
  if (!data.add_bos) data.bos = configured_token(config, "bos_token", data, data.bos);
  if (!data.add_eos) data.eos = configured_token(config, "eos_token", data, data.eos);
  data.unk = configured_token(config, "unk_token", data, data.unk);
  data.add_bos = get_bool(config, "add_bos_token", kConfig).value_or(data.add_bos);
  data.add_eos = get_bool(config, "add_eos_token", kConfig).value_or(data.add_eos);
}

}  // namespace onebit::text
