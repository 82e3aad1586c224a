// Differential fuzzing of byte-level BPE: any bytes with merges that the input chooses, against the
// definition of BPE written down plainly, and decoding gives the bytes back.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "text/byte_token.h"
#include "text/fuzz_input.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace onebit::text {
namespace {

constexpr std::array kPreTokenizers = {"smollm", "gpt-2",  "llama-bpe", "qwen2",
                                       "tekken", "falcon", "default"};

/// All bytes, and what up to 40 merges of two tokens make.
TokenizerData choose_vocabulary(FuzzInput& input) {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = kPreTokenizers.at(input.below(kPreTokenizers.size()));
  data.nfc = input.flag();
  data.ignore_merges = input.flag();
  data.tokens.assign(byte_alphabet().begin(), byte_alphabet().end());
  for (std::size_t merges = input.below(40); merges > 0; --merges) {
    const std::string left = data.tokens[input.below(data.tokens.size())];
    const std::string right = data.tokens[input.below(data.tokens.size())];
    constexpr std::size_t kLongest = 64;  // doubling again and again would fill the memory
    if (left.size() + right.size() > kLongest) continue;
    data.merges.push_back(left + " " + right);
    const std::string whole = left + right;
    if (std::find(data.tokens.begin(), data.tokens.end(), whole) == data.tokens.end()) {
      data.tokens.push_back(whole);
    }
  }
  data.types.assign(data.tokens.size(), TokenType::kNormal);
  return data;
}

void add_special_tokens(TokenizerData& data) {
  const auto add = [&](const char* text, TokenType type) {
    data.tokens.emplace_back(text);
    data.types.push_back(type);
  };
  data.bos = static_cast<TokenId>(data.tokens.size());
  data.add_bos = true;
  add("<s>", TokenType::kControl);
  add("<|im_end|>", TokenType::kControl);
  add("<|im", TokenType::kControl);
  add("\n\n", TokenType::kUserDefined);
  data.unnormalized.push_back(static_cast<TokenId>(data.tokens.size()));
  add("  ", TokenType::kUserDefined);
}

/// BPE by its definition: of all pairs of neighbours the best and leftmost is merged, until there
/// is none.
class PlainBpe {
 public:
  explicit PlainBpe(const TokenizerData& data) : ignore_merges_(data.ignore_merges) {
    for (std::size_t i = 0; i < data.tokens.size(); ++i) {
      ids_.try_emplace(data.tokens[i], static_cast<TokenId>(i));
    }
    for (const std::string& merge : data.merges) {
      const std::size_t space = merge.find(' ');
      const std::string left = merge.substr(0, space);
      const std::string right = merge.substr(space + 1);
      const Merged merged = {merges_.size(), ids_.at(left + right)};
      merges_.try_emplace({ids_.at(left), ids_.at(right)}, merged);
    }
  }

  void encode(std::string_view word, std::vector<TokenId>& ids) const {
    std::vector<TokenId> parts;
    std::string whole;
    for (const char byte : word) {
      const std::string& letter = byte_alphabet()[static_cast<unsigned char>(byte)];
      parts.push_back(ids_.at(letter));
      whole += letter;
    }
    const auto known = ids_.find(whole);
    if (ignore_merges_ && known != ids_.end()) parts = {known->second};
    while (merge_best(parts)) {
    }
    ids.insert(ids.end(), parts.begin(), parts.end());
  }

 private:
  struct Merged {
    std::size_t rank;
    TokenId id;
  };

  /// False when no two neighbours can be merged.
  bool merge_best(std::vector<TokenId>& parts) const {
    std::size_t at = parts.size();
    Merged best = {merges_.size(), -1};
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = merges_.find({parts[i], parts[i + 1]});
      if (it == merges_.end() || it->second.rank >= best.rank) continue;
      at = i;
      best = it->second;
    }
    if (best.id < 0) return false;
    parts[at] = best.id;
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    return true;
  }

  bool ignore_merges_;
  std::map<std::string, TokenId> ids_;
  std::map<std::pair<TokenId, TokenId>, Merged> merges_;
};

void fuzz(FuzzInput input) {
  TokenizerData data = choose_vocabulary(input);
  const bool special = input.flag();
  if (special) add_special_tokens(data);
  constexpr std::size_t kLongest = 256;  // the plain definition takes the text's length squared
  const std::string_view text = input.rest().substr(0, kLongest);
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(data);
  exercise(*tokenizer, text);
  const std::vector<TokenId> ids = tokenizer->encode(text, {false, special});
  const std::string decoded = tokenizer->decode(ids, /*skip_special=*/false);
  if (!data.nfc) ONEBIT_CHECK(decoded == text);
  if (special) return;

  const std::string normal = data.nfc ? nfc(text) : std::string(text);
  ONEBIT_CHECK(decoded == normal);
  PreTokenizerSpec spec = pre_tokenizer_by_name(data.pre);
  data.ignore_merges |= spec.ignore_merges;
  const PlainBpe plain(data);
  std::vector<TokenId> expected;
  std::string joined;
  for (const std::string_view word : PreTokenizer(spec.regexes).split(normal)) {
    ONEBIT_CHECK(!word.empty());
    joined += word;
    plain.encode(word, expected);
  }
  ONEBIT_CHECK(joined == normal);
  ONEBIT_CHECK(ids == expected);
}

}  // namespace
}  // namespace onebit::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  onebit::text::fuzz({data, size});
  return 0;
}
