// Fuzzes the older files of byte-level BPE: any text as tiktoken's ranks or as vocab.json with
// merges.txt gives a tokenizer or an Error; ranks that the input chooses encode as tiktoken does.
#include <fmt/format.h>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/fuzz_input.h"
#include "text/pre_tokenizer.h"

namespace onebit::text {
namespace {

constexpr std::string_view kText =
    "the  a\xCC\x81 don't \xE4\xBD\xA0\xF0\x9F\x98\x82 x\xFF\n\n 1234";

std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t i = at; i < at + 3; ++i) {
      bits = bits << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      const bool padding = at + i > bytes.size();
      result += padding ? '=' : kDigits[bits >> (18 - 6 * i) & 63u];
    }
  }
  return result;
}

using Ranks = std::map<std::string, TokenId>;

/// All bytes, the first of which may be ranked after others, and up to 40 longer tokens.
Ranks choose_ranks(FuzzInput& input) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (std::size_t count = input.below(40); count > 0; --count) {
    std::string token;
    for (std::size_t size = 2 + input.below(5); size > 0; --size) {
      token += static_cast<char>(input.flag() ? "ab \n"[input.below(4)] : input.below(256));
    }
    tokens.push_back(token);
  }
  Ranks ranks;
  for (const std::string& token : tokens) {
    ranks.try_emplace(token, static_cast<TokenId>(ranks.size()));
  }
  return ranks;
}

/// tiktoken's byte_pair_merge by its definition.
void encode_plainly(const std::string& word, const Ranks& ranks, std::vector<TokenId>& ids) {
  std::vector<std::string> parts;
  for (const char byte : word) parts.emplace_back(1, byte);
  if (ranks.contains(word)) parts = {word};
  for (;;) {
    std::optional<std::size_t> best;
    auto best_rank = static_cast<TokenId>(ranks.size());
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = ranks.find(parts[i] + parts[i + 1]);
      if (it == ranks.end() || it->second >= best_rank) continue;
      best = i;
      best_rank = it->second;
    }
    if (!best) break;
    parts[*best] += parts[*best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(*best) + 1);
  }
  for (const std::string& part : parts) ids.push_back(ranks.at(part));
}

void fuzz_chosen_ranks(FuzzInput& input) {
  const Ranks ranks = choose_ranks(input);
  std::string file;
  for (const auto& [token, rank] : ranks) file += fmt::format("{} {}\n", to_base64(token), rank);
  const auto tokenizer = make_tokenizer(parse_tiktoken(file));
  constexpr std::size_t kLongest = 128;  // the plain definition takes the text's length squared
  const std::string_view text = input.rest().substr(0, kLongest);
  exercise(*tokenizer, text);
  const auto ids = tokenizer->encode(text, {false, false});
  ONEBIT_CHECK(tokenizer->decode(ids, /*skip_special=*/false) == text);
  std::vector<TokenId> expected;
  for (const std::string_view word :
       PreTokenizer(pre_tokenizer_by_name("llama-bpe").regexes).split(text)) {
    encode_plainly(std::string(word), ranks, expected);
  }
  ONEBIT_CHECK(ids == expected);
}

/// The files end with zero bytes.
void fuzz_vocab_merges(std::string_view text) {
  const auto take = [&text] {
    const std::size_t end = std::min(text.find('\0'), text.size());
    const std::string_view file = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return file;
  };
  const std::string_view vocab = take();
  const std::string_view merges = take();
  const HfOptions options = {take(), take(), take()};
  const auto tokenizer = make_tokenizer(parse_vocab_merges(vocab, merges, options));
  exercise(*tokenizer, kText);
}

}  // namespace
}  // namespace onebit::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  text::FuzzInput input(data, size);
  const std::size_t kind = input.below(3);
  if (kind == 2) {
    text::fuzz_chosen_ranks(input);  // valid: no error is an answer
    return 0;
  }
  try {
    if (kind == 0) {
      text::exercise(*text::make_tokenizer(text::parse_tiktoken(input.rest())), text::kText);
    } else {
      text::fuzz_vocab_merges(input.rest());
    }
  } catch (const Error&) {
  }
  return 0;
}
