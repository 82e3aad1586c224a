// Tokenizers against their references on mixed text: HF tokenizers, SentencePiece, tiktoken. Made
// by tools/golden/make_tokenizer.py; tools/accept_tokenizer.py runs the same test on 20,000 lines,
// in a folder that ONEBIT_TOKENIZER_GOLDEN names.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "arch/gguf_tokenizer.h"
#include "base/test_paths.h"
#include "file/gguf.h"
#include "text/tokenizer.h"

namespace onebit::arch {
namespace {

using Json = nlohmann::json;
using text::TokenId;
using text::TokenizerData;

std::filesystem::path golden_folder() {
  const char* folder = std::getenv("ONEBIT_TOKENIZER_GOLDEN");
  return folder != nullptr ? std::filesystem::path(folder) : testing::golden("tokenizer");
}

std::string read(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream content;
  content << stream.rdbuf();
  return content.str();
}

struct Case {
  const char* name;    ///< of the golden file
  const char* golden;  ///< the golden file, where several cases share one
  std::filesystem::path source;
  std::function<TokenizerData(const std::filesystem::path&)> load;
  /// The text that decoding gives back; empty where it may lack characters, since the vocabulary
  /// lacks bytes.
  std::function<std::string(const std::string&)> decodes_to;
};

std::string same(const std::string& line) { return line; }

/// SentencePiece writes spaces as U+2581 and cannot tell one from the other.
std::string spaces(std::string line) {
  const std::string symbol = "\u2581";
  for (std::size_t at = 0; (at = line.find(symbol, at)) != std::string::npos;) {
    line.replace(at, symbol.size(), " ");
  }
  return line;
}

TokenizerData from_sentencepiece(const std::filesystem::path& path) {
  return text::parse_sentencepiece(read(path));
}

/// The same model as GGUF would hold it: pieces and scores, without the library.
TokenizerData from_sentencepiece_pieces(const std::filesystem::path& path) {
  TokenizerData data = from_sentencepiece(path);
  data.sentencepiece_model.clear();
  return data;
}

TokenizerData from_json(const std::filesystem::path& path) {
  return text::parse_tokenizer_json(read(path), "");
}

std::vector<Case> cases() {
  const auto shared = [](const char* name) {
    return testing::shared_data(std::filesystem::path("tokenizers") / name);
  };
  return {
      {"smollm2", "smollm2", testing::model("smollm2-135m-instruct.gguf"),
       [](const auto& path) { return tokenizer_from_gguf(file::GgufFile::open(path)).value(); },
       nullptr},
      {"gptneox", "gptneox", shared("gptneox/tokenizer.json"), from_json, nullptr},
      {"opt", "opt", shared("opt/gpt2-vocab.json"),
       [](const auto& path) {
         return text::parse_vocab_merges(read(path), read(path.parent_path() / "gpt2-merges.txt"),
                                         "");
       },
       same},
      {"llama3", "llama3", shared("llama3/tokenizer.model"),
       [](const auto& path) { return text::parse_tiktoken(read(path)); }, same},
      {"llama2", "llama2", shared("llama2/tokenizer.model"), from_sentencepiece, spaces},
      {"llama2_pieces", "llama2", shared("llama2/tokenizer.model"), from_sentencepiece_pieces,
       spaces},
      // Their tokenizers are too large to be committed: only tools/accept_tokenizer.py has them.
      {"smollm2_json", "smollm2", golden_folder() / "smollm2.tokenizer.json", from_json, nullptr},
      {"llama2_json", "llama2_json", golden_folder() / "llama2.tokenizer.json", from_json, spaces},
      {"llama3_json", "llama3_json", golden_folder() / "llama3.tokenizer.json", from_json, same},
      {"stories260k", "stories260k", golden_folder() / "stories260k.model", from_sentencepiece,
       spaces},
      {"stories260k_pieces", "stories260k", golden_folder() / "stories260k.model",
       from_sentencepiece_pieces, spaces},
  };
}

void PrintTo(const Case& test_case, std::ostream* out) { *out << test_case.name; }

class TokenizerGolden : public ::testing::TestWithParam<Case> {};

/// What is wrong with one line, or nothing.
std::string difference(const std::vector<TokenId>& found, const std::vector<TokenId>& expected) {
  if (found == expected) return "";
  std::size_t at = 0;
  while (at < found.size() && at < expected.size() && found[at] == expected[at]) ++at;
  std::ostringstream out;
  out << "at " << at << ": found";
  for (std::size_t i = at; i < std::min(found.size(), at + 6); ++i) out << ' ' << found[i];
  out << ", expected";
  for (std::size_t i = at; i < std::min(expected.size(), at + 6); ++i) out << ' ' << expected[i];
  return out.str();
}

TEST_P(TokenizerGolden, IdsAreTheReferences) {
  const Case& test_case = GetParam();
  ONEBIT_REQUIRE_FILE(test_case.source);
  const std::filesystem::path golden = golden_folder() / (std::string(test_case.golden) + ".json");
  ONEBIT_REQUIRE_FILE(golden);
  const Json lines = Json::parse(read(golden_folder() / "text.json")).at("lines");
  const Json reference = Json::parse(read(golden));
  const auto tokenizer = text::make_tokenizer(test_case.load(test_case.source));
  ASSERT_GT(lines.size(), 100u);

  std::size_t compared = 0;
  std::size_t equal = 0;
  std::size_t shown = 0;
  // "special": control tokens in the text recognised; "plain": taken as text.
  for (const char* mode : {"special", "plain"}) {
    if (!reference.contains(mode)) continue;
    const bool parse_special = std::string_view(mode) == "special";
    const Json& expected = reference[mode];
    ASSERT_EQ(expected.size(), lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto line = lines[i].get<std::string>();
      const auto ids =
          tokenizer->encode(line, {.add_special = false, .parse_special = parse_special});
      std::string wrong = difference(ids, expected[i].get<std::vector<TokenId>>());
      if (wrong.empty() && test_case.decodes_to) {
        // Between control tokens SentencePiece's models add spaces that decoding cannot tell.
        const bool comparable =
            !parse_special || ids == tokenizer->encode(line, {.add_special = false});
        if (comparable &&
            tokenizer->decode(ids, /*skip_special=*/false) != test_case.decodes_to(line)) {
          wrong = "decoded text differs";
        }
      }
      ++compared;
      if (wrong.empty()) {
        ++equal;
      } else if (++shown <= 5) {
        ADD_FAILURE() << mode << " line " << i << " " << lines[i] << " " << wrong;
      }
    }
  }
  EXPECT_GT(compared, 100u);
  EXPECT_EQ(equal, compared);
  if (std::getenv("ONEBIT_TOKENIZER_GOLDEN") != nullptr) {
    std::cout << test_case.name << ": " << equal << " of " << compared << " lines equal\n";
  }
}

INSTANTIATE_TEST_SUITE_P(References, TokenizerGolden, ::testing::ValuesIn(cases()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace onebit::arch
