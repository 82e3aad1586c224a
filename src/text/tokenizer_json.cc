// Hugging Face's tokenizer.json, for BPE: byte-level (GPT-2 and its heirs) or with byte fallback
// (Llama 2). Whatever would change ids and is not handled is an error that names it.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "text/hf_config.h"
#include "text/json_reader.h"
#include "text/pre_tokenizer.h"
#include "text/quote.h"
#include "text/sentencepiece_base.h"
#include "text/tokenizer.h"

namespace onebit::text {
namespace {

constexpr const char* kFile = "tokenizer.json";

[[noreturn]] void unsupported(std::string_view where, std::string_view found) {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {}: found {}, which is not supported", kFile, where, found));
}

/// "type" of a component, which must be an object.
std::string type_of(const Json& component, std::string_view where) {
  return require_string(require_object(component, kFile, where), "type", kFile, where);
}

/// Calls visit(component, type) for a component, or for each of a Sequence's.
template <typename Visit>
void for_each_component(const Json& component, const char* list, std::string_view where,
                        const Visit& visit) {
  const std::string type = type_of(component, where);
  if (type != "Sequence") {
    visit(component, type);
    return;
  }
  for (const Json& part : require_array(component, list, kFile, where)) {
    const std::string part_type = type_of(part, where);
    if (part_type == "Sequence") unsupported(where, "a Sequence inside a Sequence");
    visit(part, part_type);
  }
}

/// What normalizer and pre_tokenizer say together.
struct Pipeline {
  bool nfc = false;
  bool spaces_escaped = false;  ///< " " becomes U+2581
  bool byte_level = false;
  bool prefix = false;
  SpacePrefix space_prefix = SpacePrefix::kSegments;
  std::vector<std::string> regexes;
};

void read_normalizer(const Json& json, Pipeline& pipeline) {
  const Json& normalizer = member(json, "normalizer");
  if (normalizer.is_null()) return;
  for_each_component(
      normalizer, "normalizers", "normalizer", [&](const Json& part, const std::string& type) {
        if (type == "NFC") {
          pipeline.nfc = true;
        } else if (type == "Prepend" && member(part, "prepend") == kSpaceSymbol) {
          pipeline.prefix = true;
        } else if (type == "Replace" && member(member(part, "pattern"), "String") == " " &&
                   member(part, "content") == kSpaceSymbol) {
          pipeline.spaces_escaped = true;
        } else {
          unsupported("normalizer", type == "Prepend" || type == "Replace"
                                        ? fmt::format("{} other than of spaces by U+2581", type)
                                        : in_quotes(type));
        }
      });
}

void read_split(const Json& part, Pipeline& pipeline) {
  const Json& pattern = member(part, "pattern");
  const std::string behavior = require_string(part, "behavior", kFile, "pre_tokenizer Split");
  if (behavior != "Isolated") {
    unsupported("pre_tokenizer Split", fmt::format("behavior {}", in_quotes(behavior)));
  }
  // Isolated keeps matches and what lies between them: inverting exchanges them, no more.
  if (!member(pattern, "Regex").is_string()) {
    unsupported("pre_tokenizer Split", "a pattern that is not a Regex");
  }
  pipeline.regexes.push_back(member(pattern, "Regex").get<std::string>());
}

void read_metaspace(const Json& part, Pipeline& pipeline) {
  constexpr const char* kWhere = "pre_tokenizer Metaspace";
  if (member(part, "replacement") != kSpaceSymbol) unsupported(kWhere, "another replacement");
  if (get_bool(part, "split", kFile).value_or(true)) unsupported(kWhere, "split");
  pipeline.spaces_escaped = true;
  std::string scheme =
      get_bool(part, "add_prefix_space", kFile).value_or(true) ? "always" : "never";
  if (member(part, "prepend_scheme").is_string()) {
    scheme = member(part, "prepend_scheme").get<std::string>();
  }
  if (scheme == "always") {
    pipeline.space_prefix = SpacePrefix::kSegmentsUnlessSpace;
  } else if (scheme == "first") {
    pipeline.space_prefix = SpacePrefix::kStartUnlessSpace;
  } else if (scheme != "never") {
    unsupported(kWhere, fmt::format("prepend_scheme {}", in_quotes(scheme)));
  }
  pipeline.prefix = scheme != "never";
}

void read_pre_tokenizer(const Json& json, Pipeline& pipeline) {
  const Json& pre_tokenizer = member(json, "pre_tokenizer");
  if (pre_tokenizer.is_null()) return;
  for_each_component(
      pre_tokenizer, "pretokenizers", "pre_tokenizer",
      [&](const Json& part, const std::string& type) {
        if (pipeline.byte_level) {
          // It would see the bytes' alphabet, not the text.
          unsupported("pre_tokenizer", fmt::format("{} after ByteLevel", in_quotes(type)));
        }
        if (type == "ByteLevel") {
          if (get_bool(part, "add_prefix_space", kFile).value_or(true)) {
            unsupported("pre_tokenizer ByteLevel", "add_prefix_space");
          }
          if (get_bool(part, "use_regex", kFile).value_or(true)) {
            pipeline.regexes.emplace_back(kGpt2Regex);
          }
          pipeline.byte_level = true;
        } else if (type == "Digits") {
          const bool individual = get_bool(part, "individual_digits", kFile).value_or(false);
          pipeline.regexes.emplace_back(individual ? R"(\p{N})" : R"(\p{N}+)");
        } else if (type == "Split") {
          read_split(part, pipeline);
        } else if (type == "Metaspace") {
          read_metaspace(part, pipeline);
        } else {
          unsupported("pre_tokenizer", in_quotes(type));
        }
      });
}

/// BOS and EOS as TemplateProcessing puts them around a single text.
void read_post_processor(const Json& json, TokenizerData& data) {
  const Json& post_processor = member(json, "post_processor");
  if (post_processor.is_null()) return;
  for_each_component(
      post_processor, "processors", "post_processor",
      [&](const Json& part, const std::string& type) {
        if (type == "ByteLevel") return;  // it only moves offsets
        if (type != "TemplateProcessing") unsupported("post_processor", in_quotes(type));
        bool after = false;
        for (const Json& item : require_array(part, "single", kFile, "post_processor")) {
          if (member(item, "Sequence").is_object()) {
            after = true;
            continue;
          }
          const std::string text =
              require_string(member(item, "SpecialToken"), "id", kFile, "post_processor single");
          const TokenId id = require_token(data, text, kFile, "post_processor");
          bool& present = after ? data.add_eos : data.add_bos;
          if (present) unsupported("post_processor", "two tokens on one side of a text");
          present = true;
          (after ? data.eos : data.bos) = id;
        }
      });
}

void read_model(const Json& model, TokenizerData& data) {
  const std::string type = member(model, "type").is_null() ? "BPE" : type_of(model, "model");
  if (type != "BPE") unsupported("model", in_quotes(type));
  if (!member(model, "dropout").is_null() && member(model, "dropout") != 0.0) {
    unsupported("model", "dropout");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!member(model, affix).is_null() && member(model, affix) != "") unsupported("model", affix);
  }
  data.ignore_merges = get_bool(model, "ignore_merges", kFile).value_or(false);
  for (const Json& merge : require_array(model, "merges", kFile, "model")) {
    if (merge.is_string()) {
      data.merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      data.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: model merges[{}]: expected \"left right\" or [left, right]",
                              kFile, data.merges.size()));
    }
  }
}

std::vector<AddedToken> read_added_tokens(const Json& json) {
  std::vector<AddedToken> result;
  if (member(json, "added_tokens").is_null()) return result;
  for (const Json& item : require_array(json, "added_tokens", kFile, "")) {
    const TokenId id = require_id(item, "id", kFile, "added_tokens");
    result.push_back(read_added_token(item, id, kFile, "added_tokens"));
  }
  return result;
}

void apply_added_tokens(const std::vector<AddedToken>& added, bool normalizes,
                        TokenizerData& data) {
  for (const AddedToken& token : added) {
    const auto at = static_cast<std::size_t>(token.id);
    data.tokens[at] = token.text;
    data.types[at] = token.special ? TokenType::kControl : TokenType::kUserDefined;
    if (token.special && token.normalized && normalizes) {
      unsupported("added_tokens",
                  fmt::format("special token {} that is normalized", in_quotes(token.text)));
    }
    if (!token.special && (!token.normalized || !normalizes)) {
      data.unnormalized.push_back(token.id);
    }
  }
}

/// Byte tokens by text; the unknown token; scores that order merges alike, for readers of GGUF that
/// know no others: the earlier a token's first merge, the better.
void complete_sentencepiece(const Json& model, TokenizerData& data) {
  if (!get_bool(model, "byte_fallback", kFile).value_or(false)) {
    unsupported("model", "BPE that is neither byte-level nor with byte_fallback");
  }
  mark_byte_tokens(data);
  data.scores.assign(data.tokens.size(), 0.0F);
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) ids.try_emplace(data.tokens[i], i);
  std::vector<bool> scored(data.tokens.size(), false);
  float score = 0.0F;
  for (const std::string& merge : data.merges) {
    std::string whole = merge;
    if (const auto space = whole.find(' ', 1); space != std::string::npos) whole.erase(space, 1);
    const auto it = ids.find(whole);
    if (it == ids.end() || scored[it->second]) continue;  // make_tokenizer reports what is wrong
    scored[it->second] = true;
    data.scores[it->second] = score;
    score -= 1.0F;
  }
  for (std::size_t i = 0; i < scored.size(); ++i) {
    if (!scored[i] && data.types[i] == TokenType::kNormal) data.scores[i] = score;
  }
}

}  // namespace

TokenizerData parse_tokenizer_json(std::string_view tokenizer_json, std::string_view config_json) {
  const Json json = parse_json(tokenizer_json, kFile);
  const Json& model = require_object(member(json, "model"), kFile, "model");
  TokenizerData data;
  read_model(model, data);
  Pipeline pipeline;
  read_normalizer(json, pipeline);
  read_pre_tokenizer(json, pipeline);

  const std::vector<AddedToken> added = read_added_tokens(json);
  std::vector<TokenId> extra;
  extra.reserve(added.size());
  for (const AddedToken& token : added) extra.push_back(token.id);
  read_vocabulary(member(model, "vocab"), extra, kFile, data);
  if (member(model, "unk_token").is_string()) {
    data.unk =
        require_token(data, member(model, "unk_token").get<std::string>(), kFile, "unk_token");
  }

  if (pipeline.byte_level) {
    if (pipeline.spaces_escaped || pipeline.prefix) {
      unsupported("pre_tokenizer", "ByteLevel together with U+2581 for spaces");
    }
    data.model = "gpt2";
    data.add_space_prefix = false;
    data.nfc = pipeline.nfc;
    data.pre = pre_tokenizer_name({pipeline.regexes, data.ignore_merges});
    if (data.pre.empty()) data.split_regexes = pipeline.regexes;
  } else {
    if (!pipeline.spaces_escaped || !pipeline.regexes.empty() || pipeline.nfc) {
      unsupported("normalizer and pre_tokenizer", "neither ByteLevel nor only U+2581 for spaces");
    }
    data.model = "llama";
    data.add_space_prefix = pipeline.prefix;
    data.space_prefix = pipeline.space_prefix;
    complete_sentencepiece(model, data);
  }
  apply_added_tokens(added, !pipeline.byte_level || pipeline.nfc, data);
  if (data.unk >= 0 && !pipeline.byte_level) {
    data.types[static_cast<std::size_t>(data.unk)] = TokenType::kUnknown;
  }
  read_post_processor(json, data);
  // A token that the text's template adds is not put in question by the configuration.
  apply_tokenizer_config(config_json, /*template_decides=*/true, data);
  return data;
}

}  // namespace onebit::text
