// Reads and writes a tokenizer as GGUF metadata.
#include "arch/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <limits>

#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

// What TokenizerData says beyond llama.cpp's keys, under our own. Each is written only when it
// differs from its default, so that a tokenizer that llama.cpp's keys describe has none.
constexpr std::string_view kSpacePrefixKey = "tokenizer.onebit.space_prefix";
constexpr std::string_view kSplitRegexesKey = "tokenizer.onebit.split_regexes";
constexpr std::string_view kNfcKey = "tokenizer.onebit.nfc";
constexpr std::string_view kIgnoreMergesKey = "tokenizer.onebit.ignore_merges";
constexpr std::string_view kUnnormalizedKey = "tokenizer.onebit.unnormalized";
constexpr std::string_view kSentencePieceKey = "tokenizer.onebit.sentencepiece_model";

constexpr std::array<std::string_view, 3> kSpacePrefixes = {"segments", "segments_unless_space",
                                                            "start_unless_space"};

std::string key(std::string_view name) { return fmt::format("{}{}", kPrefix, name); }

/// A token id, or -1 where the file has none (some writers store -1 as unsigned).
text::TokenId read_id(const file::GgufFile& gguf, std::string_view name, text::TokenId otherwise) {
  const auto id = gguf.get_int(key(name));
  if (!id) return otherwise;
  if (*id == -1 || *id == std::numeric_limits<std::uint32_t>::max()) return -1;
  if (*id < 0 || *id > std::numeric_limits<text::TokenId>::max()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: {}: found {}, expected a token id", gguf.name(), key(name), *id));
  }
  return static_cast<text::TokenId>(*id);
}

std::vector<text::TokenType> read_types(const file::GgufFile& gguf) {
  std::vector<text::TokenType> types;
  const auto values = gguf.get_ints(key("token_type"));
  if (!values) return types;
  types.reserve(values->size());
  for (const std::int64_t value : *values) {
    if (value < 0 || value > static_cast<std::int64_t>(text::TokenType::kByte)) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: {}[{}]: found {}, expected 0 to 6", gguf.name(),
                              key("token_type"), types.size(), value));
    }
    types.push_back(static_cast<text::TokenType>(value));
  }
  return types;
}

/// The bytes of an array of u8, or empty.
std::string read_bytes(const file::GgufFile& gguf, std::string_view full_key) {
  const file::GgufValue* value = gguf.find(full_key);
  if (value == nullptr) return "";
  const auto* array = std::get_if<file::GgufArray>(&value->value);
  const auto* bytes = array == nullptr ? nullptr : std::get_if<std::vector<std::uint8_t>>(array);
  if (bytes == nullptr) {
    throw Error(
        ErrorCode::kCorrupt,
        fmt::format("{}: {}: found another type, expected an array of u8", gguf.name(), full_key));
  }
  return {bytes->begin(), bytes->end()};
}

void read_own_keys(const file::GgufFile& gguf, text::TokenizerData& data) {
  if (const auto name = gguf.get_string(kSpacePrefixKey)) {
    const auto* const it = std::find(kSpacePrefixes.begin(), kSpacePrefixes.end(), *name);
    if (it == kSpacePrefixes.end()) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: {}: found {}, expected one of: {}", gguf.name(), kSpacePrefixKey,
                              file::in_quotes(*name), fmt::join(kSpacePrefixes, ", ")));
    }
    data.space_prefix = static_cast<text::SpacePrefix>(it - kSpacePrefixes.begin());
  }
  if (const auto* regexes = gguf.get_strings(kSplitRegexesKey)) data.split_regexes = *regexes;
  data.nfc = gguf.get_bool(kNfcKey).value_or(false);
  data.ignore_merges = gguf.get_bool(kIgnoreMergesKey).value_or(false);
  if (const auto ids = gguf.get_ints(kUnnormalizedKey)) {
    for (const std::int64_t id : *ids) {
      if (id < 0 || id >= std::ssize(data.tokens)) {
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("{}: {}: found {}, expected a token id below {}", gguf.name(),
                                kUnnormalizedKey, id, data.tokens.size()));
      }
      data.unnormalized.push_back(static_cast<text::TokenId>(id));
    }
  }
  data.sentencepiece_model = read_bytes(gguf, kSentencePieceKey);
}

}  // namespace

std::optional<text::TokenizerData> tokenizer_from_gguf(const file::GgufFile& gguf) {
  const auto model = gguf.get_string(key("model"));
  if (!model || *model == "none") return std::nullopt;
  text::TokenizerData data;
  data.model = *model;
  data.pre = gguf.get_string(key("pre")).value_or("");
  const std::vector<std::string>* tokens = gguf.get_strings(key("tokens"));
  if (tokens == nullptr) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}: found nothing, expected an array",
                                                 gguf.name(), key("tokens")));
  }
  data.tokens = *tokens;
  data.types = read_types(gguf);
  if (const auto* scores = gguf.get_floats(key("scores"))) data.scores = *scores;
  if (const auto* merges = gguf.get_strings(key("merges"))) data.merges = *merges;
  const bool sentencepiece = data.model == "llama";
  data.bos = read_id(gguf, "bos_token_id", sentencepiece ? 1 : -1);
  data.eos = read_id(gguf, "eos_token_id", sentencepiece ? 2 : -1);
  data.unk = read_id(gguf, "unknown_token_id", sentencepiece ? 0 : -1);
  data.eot = read_id(gguf, "eot_token_id", -1);
  // Llama 3's converter left the key out, so llama.cpp ties it to the pre-tokenizer.
  data.add_bos =
      gguf.get_bool(key("add_bos_token")).value_or(sentencepiece || data.pre == "llama-bpe");
  data.add_eos = gguf.get_bool(key("add_eos_token")).value_or(false);
  data.add_space_prefix = gguf.get_bool(key("add_space_prefix")).value_or(sentencepiece);
  read_own_keys(gguf, data);
  return data;
}

std::vector<std::pair<std::string, file::GgufValue>> tokenizer_to_gguf(
    const text::TokenizerData& data, std::int64_t vocab) {
  std::vector<std::pair<std::string, file::GgufValue>> result;
  const auto set = [&](std::string_view name, auto value) {
    result.emplace_back(key(name), file::GgufValue{std::move(value)});
  };
  const auto set_id = [&](std::string_view name, text::TokenId id) {
    if (id >= 0) set(name, static_cast<std::uint32_t>(id));
  };
  const auto size = static_cast<std::size_t>(vocab);
  std::vector<std::string> tokens = data.tokens;
  std::vector<std::int32_t> types(tokens.size(), static_cast<int>(text::TokenType::kNormal));
  for (std::size_t i = 0; i < data.types.size() && i < types.size(); ++i) {
    types[i] = static_cast<std::int32_t>(data.types[i]);
  }
  while (tokens.size() < size) {
    tokens.push_back(fmt::format("[PAD{}]", tokens.size()));
    types.push_back(static_cast<std::int32_t>(text::TokenType::kUnused));
  }
  set("model", data.model);
  if (!data.pre.empty()) set("pre", data.pre);
  if (!data.scores.empty()) {
    std::vector<float> scores = data.scores;
    scores.resize(tokens.size(), -1000.0F);  // as low as llama.cpp's converter gives unused tokens
    set("scores", file::GgufArray(std::move(scores)));
  }
  set("tokens", file::GgufArray(std::move(tokens)));
  set("token_type", file::GgufArray(std::move(types)));
  if (!data.merges.empty()) set("merges", file::GgufArray(data.merges));
  set_id("bos_token_id", data.bos);
  set_id("eos_token_id", data.eos);
  set_id("eot_token_id", data.eot);
  set_id("unknown_token_id", data.unk);
  set("add_bos_token", data.add_bos);
  set("add_eos_token", data.add_eos);
  set("add_space_prefix", data.add_space_prefix);
  const auto set_own = [&](std::string_view full_key, auto value, bool differs) {
    if (differs) result.emplace_back(full_key, file::GgufValue{std::move(value)});
  };
  const std::string& spm = data.sentencepiece_model;
  set_own(kSpacePrefixKey,
          std::string(kSpacePrefixes.at(static_cast<std::size_t>(data.space_prefix))),
          data.space_prefix != text::SpacePrefix::kSegments);
  set_own(kSplitRegexesKey, file::GgufArray(data.split_regexes), !data.split_regexes.empty());
  set_own(kNfcKey, data.nfc, data.nfc);
  set_own(kIgnoreMergesKey, data.ignore_merges, data.ignore_merges);
  set_own(kUnnormalizedKey, file::GgufArray(data.unnormalized), !data.unnormalized.empty());
  set_own(kSentencePieceKey, file::GgufArray(std::vector<std::uint8_t>(spm.begin(), spm.end())),
          !spm.empty());
  return result;
}

}  // namespace onebit::arch
