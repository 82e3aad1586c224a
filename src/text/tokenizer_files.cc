// Older forms of byte-level BPE tokenizers: GPT-2's vocab.json with merges.txt, and tiktoken's
// ranks.
#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "text/bpe_merge.h"
#include "text/byte_token.h"
#include "text/hf_config.h"
#include "text/quote.h"
#include "text/tokenizer.h"

namespace onebit::text {
namespace {

/// Calls visit(line, number) for every line that is not empty, without "\n" or "\r\n".
template <typename Visit>
void for_each_line(std::string_view text, const Visit& visit) {
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) visit(line, number);
  }
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  text.remove_suffix(padding);
  std::string result;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xFFFFu;
    count += 6;
    if (count >= 8) {
      count -= 8;
      result += static_cast<char>(bits >> count & 0xFFu);
    }
  }
  return result;
}

using Ranks = std::unordered_map<std::string, std::int32_t>;

Ranks read_ranks(std::string_view text) {
  Ranks ranks;
  for_each_line(text, [&](std::string_view line, std::size_t number) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const auto token = from_base64(line.substr(0, space));
    std::int32_t rank = -1;
    if (space < line.size()) {
      const char* end = line.data() + line.size();
      const auto [stop, error] = std::from_chars(line.data() + space + 1, end, rank);
      if (error != std::errc() || stop != end) rank = -1;
    }
    if (!token || rank < 0) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer.model: line {}: found {}, expected \"base64 rank\"",
                              number, in_quotes(line)));
    }
    if (!ranks.try_emplace(*token, rank).second) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer.model: line {}: found a token a second time", number));
    }
  });
  return ranks;
}

/// Where tiktoken's merging cuts a token in two before its last merge, or 0 where it never puts
/// this token together. Merges go by the rank of what they make, so inside a longer text, too, the
/// token comes about from these two parts: until then no merge crossed its borders, and inside them
/// the order is the same.
std::size_t last_cut(const std::string& token, const Ranks& ranks) {
  std::vector<Symbol> symbols;
  for (std::size_t i = 0; i < token.size(); ++i) append_symbol(symbols, 1, 0);
  merge_symbols<std::int32_t>(
      symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge<std::int32_t>> {
        const auto size =
            static_cast<std::size_t>(left.size) + static_cast<std::size_t>(right.size);
        if (size == token.size()) return std::nullopt;  // the last merge itself
        const auto it = ranks.find(token.substr(static_cast<std::size_t>(left.begin), size));
        if (it == ranks.end()) return std::nullopt;
        return Merge<std::int32_t>{it->second, 0};
      });
  const Symbol& first = symbols.front();
  const bool two = first.next >= 0 && symbols[static_cast<std::size_t>(first.next)].next < 0;
  return two ? static_cast<std::size_t>(first.size) : 0;
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string result;
  for (const char byte : bytes) result += byte_alphabet()[static_cast<unsigned char>(byte)];
  return result;
}

/// The control tokens after the ranks, in order, as in Llama 3's own tokenizer.py.
std::vector<std::string> llama3_control_tokens() {
  constexpr int kCount = 256;
  std::vector<std::string> result = {"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto reserve = [&] {
    result.push_back(fmt::format("<|reserved_special_token_{}|>", reserved++));
  };
  while (reserved < 4) reserve();
  result.insert(result.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  reserve();
  result.emplace_back("<|eot_id|>");
  while (result.size() < kCount) reserve();
  return result;
}

}  // namespace

TokenizerData parse_vocab_merges(std::string_view vocab_json, std::string_view merges_txt,
                                 const HfOptions& options) {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  data.add_space_prefix = false;
  read_vocabulary(parse_json(vocab_json, "vocab.json"), {}, "vocab.json", data);
  for_each_line(merges_txt, [&](std::string_view line, std::size_t number) {
    if (number == 1 && line.starts_with("#version")) return;
    data.merges.emplace_back(line);
  });
  // Files alone do not say which tokens are special; these are what GPT-2's and fairseq's models
  // use.
  constexpr std::array<std::string_view, 6> kControl = {"<s>",   "</s>",   "<unk>",
                                                        "<pad>", "<mask>", "<|endoftext|>"};
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (std::find(kControl.begin(), kControl.end(), data.tokens[i]) != kControl.end()) {
      data.types[i] = TokenType::kControl;
    }
  }
  apply_hf_options(options, data);
  return data;
}

TokenizerData parse_tiktoken(std::string_view text) {
  const Ranks ranks = read_ranks(text);
  const std::size_t count = ranks.size();
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "llama-bpe";
  data.add_space_prefix = false;
  data.tokens.resize(count);
  std::vector<std::string> merges(count);
  for (const auto& [token, rank] : ranks) {
    const auto at = static_cast<std::size_t>(rank);
    if (at >= count || !data.tokens[at].empty()) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer.model: found rank {}, expected each of 0 to {} once", rank,
                              count - 1));
    }
    data.tokens[at] = to_byte_alphabet(token);
    if (const std::size_t cut = last_cut(token, ranks)) {
      const std::string_view bytes = token;
      merges[at] =
          to_byte_alphabet(bytes.substr(0, cut)) + " " + to_byte_alphabet(bytes.substr(cut));
    }
  }
  std::copy_if(merges.begin(), merges.end(), std::back_inserter(data.merges),
               [](const std::string& merge) { return !merge.empty(); });
  data.types.assign(count, TokenType::kNormal);
  for (const std::string& control : llama3_control_tokens()) {
    data.tokens.push_back(control);
    data.types.push_back(TokenType::kControl);
  }
  data.bos = static_cast<TokenId>(count);
  data.eos = static_cast<TokenId>(count + 1);
  data.eot = require_token(data, "<|eot_id|>", "tokenizer.model", "control tokens");
  data.add_bos = true;
  return data;
}

}  // namespace onebit::text
