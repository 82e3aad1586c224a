// Tokenizers against their references on mixed text: HF tokenizers, SentencePiece, tiktoken. The
// golden files are made by tools/golden/make_tokenizer.py, which tells what is in them;
// tools/accept/tokenizers.py runs the same tests on 20,000 lines, in a folder that
// ONEBIT_TOKENIZER_GOLDEN names.
#include <array>
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
using Ids = std::vector<text::TokenId>;
using text::TokenizerData;

/// tools/accept/tokenizers.py's folder, or nullptr.
const char* accept_folder() { return std::getenv("ONEBIT_TOKENIZER_GOLDEN"); }

std::filesystem::path golden_folder() {
  return accept_folder() != nullptr ? std::filesystem::path(accept_folder())
                                    : testing::golden("tokenizer");
}

std::string read(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream content;
  content << stream.rdbuf();
  return content.str();
}

struct Case {
  const char* name;
  const char* golden;  ///< the golden file's, where several cases share one
  std::filesystem::path source;
  std::function<TokenizerData(const std::filesystem::path&)> load;
};

TokenizerData from_gguf(const std::filesystem::path& path) {
  return tokenizer_from_gguf(file::GgufFile::open(path)).value();
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
  const auto made = [](const char* name) { return golden_folder() / name; };
  const auto from_vocab_merges = [](const std::filesystem::path& path) {
    return text::parse_vocab_merges(read(path), read(path.parent_path() / "gpt2-merges.txt"), {});
  };
  const auto from_tiktoken = [](const auto& path) { return text::parse_tiktoken(read(path)); };
  std::vector<Case> result = {
      {"small_bytes", "small_bytes", made("small_bytes.tokenizer.json"), from_json},
      {"small_split", "small_split", made("small_split.tokenizer.json"), from_json},
      {"small_metaspace", "small_metaspace", made("small_metaspace.tokenizer.json"), from_json},
      {"smollm2", "smollm2", testing::model("smollm2-135m-instruct.gguf"), from_gguf},
      {"stories260k", "stories260k", testing::model("stories260k/tokenizer.model"),
       from_sentencepiece},
      {"stories260k_gguf", "stories260k", testing::model("stories260k.gguf"), from_gguf},
      {"gptneox", "gptneox", shared("gptneox/tokenizer.json"), from_json},
      {"opt", "opt", shared("opt/gpt2-vocab.json"), from_vocab_merges},
      {"llama3", "llama3", shared("llama3/tokenizer.model"), from_tiktoken},
      {"llama2", "llama2", shared("llama2/tokenizer.model"), from_sentencepiece},
      {"llama2_pieces", "llama2", shared("llama2/tokenizer.model"), from_sentencepiece_pieces},
  };
  if (accept_folder() != nullptr) {  // too large to be committed
    result.push_back(
        {"smollm2_json", "smollm2_json", made("smollm2_json.tokenizer.json"), from_json});
    result.push_back({"llama2_json", "llama2_json", made("llama2_json.tokenizer.json"), from_json});
    result.push_back({"llama3_json", "llama3_json", made("llama3_json.tokenizer.json"), from_json});
  }
  return result;
}

void PrintTo(const Case& test_case, std::ostream* out) { *out << test_case.name; }

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

class TokenizerGolden : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& test_case = GetParam();
    ONEBIT_REQUIRE_FILE(test_case.source);
    const auto golden = golden_folder() / (std::string(test_case.golden) + ".json");
    ASSERT_TRUE(std::filesystem::exists(golden)) << golden;
    const Json text = Json::parse(read(golden_folder() / "text.json"));
    reference_ = Json::parse(read(golden));
    const auto step = reference_.at("step").get<std::size_t>();
    const Json& lines = text.at("lines");
    for (std::size_t i = 0; i < lines.size(); i += step) lines_.push_back(lines[i]);
    for (const Json& hex : text.at("invalid")) invalid_.push_back(from_hex(hex));
    ASSERT_GE(lines_.size(), 50u);
    ASSERT_EQ(reference_.at("plain").size(), lines_.size());
    data_ = test_case.load(test_case.source);
    tokenizer_ = text::make_tokenizer(data_);
    for (text::TokenId id = 0; id < tokenizer_->vocab_size(); ++id) {
      const std::string piece = tokenizer_->piece(id);
      if (piece.size() == 1) has_byte_.at(static_cast<unsigned char>(piece[0])) = true;
    }
  }

  Ids encode(const std::string& line, bool parse_special = false) const {
    return tokenizer_->encode(line, {.add_special = false, .parse_special = parse_special});
  }

  std::string decode(const Ids& ids) const {
    return tokenizer_->decode(ids, /*skip_special=*/false);
  }

  bool byte_level() const { return data_.model == "gpt2"; }

  /// reference_[key][line], if it is there.
  const Json* exception(const char* key, std::size_t line) const {
    const auto map = reference_.find(key);
    if (map == reference_.end()) return nullptr;
    const auto it = map->find(std::to_string(line));
    return it == map->end() ? nullptr : &*it;
  }

  /// What decoding gives back: the text in the tokenizer's normal form, less the bytes that a
  /// byte-level vocabulary has no token for.
  std::string round_trip(std::size_t line) const {
    const Json* normalized = exception("normalized", line);
    std::string text = normalized == nullptr ? lines_[line] : normalized->get<std::string>();
    if (byte_level()) {
      std::erase_if(text, [&](char c) { return !has_byte_.at(static_cast<unsigned char>(c)); });
    }
    return text;
  }

  Json reference_;
  std::vector<std::string> lines_;
  std::vector<std::string> invalid_;
  TokenizerData data_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::array<bool, 256> has_byte_{};  ///< some token is this byte alone
};

/// What is wrong with one line, or nothing.
std::string difference(const Ids& found, const Ids& expected) {
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

/// Counts lines and reports the first few that differ.
class Tally {
 public:
  void add(const char* what, std::size_t line, const std::string& text, const Ids& found,
           const Ids& expected) {
    ids_ += expected.size();
    add(what, line, text, difference(found, expected));
  }

  void add(const char* what, std::size_t line, const std::string& text, const std::string& wrong) {
    ++compared_;
    if (wrong.empty()) return;
    constexpr std::size_t kShown = 5;
    if (++different_ <= kShown) {
      ADD_FAILURE() << what << " line " << line << " " << Json(text) << " " << wrong;
    }
  }

  void print(const char* name, const char* what) const {
    EXPECT_GT(compared_, 0u);
    EXPECT_EQ(different_, 0u);
    if (accept_folder() == nullptr) return;
    std::cout << "tokenizers: " << name << ": " << compared_ << " texts";
    if (ids_ > 0) std::cout << ", " << ids_ << " ids";
    std::cout << ", " << different_ << " " << what << "\n";
  }

 private:
  std::size_t compared_ = 0;
  std::size_t different_ = 0;
  std::size_t ids_ = 0;
};

TEST_P(TokenizerGolden, IdsAreTheReferences) {
  Tally tally;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const Ids plain = reference_["plain"][i];
    tally.add("plain", i, lines_[i], encode(lines_[i]), plain);
    if (!reference_.contains("special")) continue;
    const Json* special = exception("special", i);
    tally.add("special", i, lines_[i], encode(lines_[i], /*parse_special=*/true),
              special == nullptr ? plain : special->get<Ids>());
  }
  tally.print(GetParam().name, "encoded otherwise than by the reference");
}

TEST_P(TokenizerGolden, DecodingGivesTheTextBack) {
  Tally tally;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const std::string expected = round_trip(i);
    const std::string found = decode(encode(lines_[i]));
    tally.add("plain", i, lines_[i],
              found == expected ? ""
                                : "decoded to " + Json(found).dump(-1, ' ', true,
                                                                   Json::error_handler_t::replace));
  }
  tally.print(GetParam().name, "decoded to other text");
}

TEST_P(TokenizerGolden, InvalidUtf8) {
  const Json* expected = reference_.contains("invalid") ? &reference_["invalid"] : nullptr;
  for (std::size_t i = 0; i < invalid_.size(); ++i) {
    SCOPED_TRACE(i);
    const Ids ids = encode(invalid_[i]);
    if (expected != nullptr) {
      EXPECT_EQ(ids, (*expected)[i].get<Ids>());
    } else if (byte_level() && std::all_of(invalid_[i].begin(), invalid_[i].end(), [&](char c) {
                 return has_byte_.at(static_cast<unsigned char>(c));
               })) {
      EXPECT_EQ(decode(ids), invalid_[i]);
    } else {
      EXPECT_FALSE(decode(ids).empty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(References, TokenizerGolden, ::testing::ValuesIn(cases()),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace onebit::arch
