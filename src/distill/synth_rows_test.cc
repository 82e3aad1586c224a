// What `onebit synth` writes is what training reads: the very tokens that the teacher chose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "distill/data.h"

namespace onebit::distill {
namespace {

using text::TokenId;
using Ids = std::vector<TokenId>;

class SynthRows : public ::testing::Test {
 protected:
  SynthRows() : tokenizer_(text::make_tokenizer(arch::test_models::tiny_tokenizer())) {}

  /// All training tokens of a JSONL file.
  Ids read(const std::string& rows) {
    write_file(dir_ / "d.jsonl", rows);
    NoProgress progress;
    DataOptions options;
    options.length = 2;
    options.held_out = 0;
    summary_ = prepare_data({dir_ / "d.jsonl"}, *tokenizer_, options, dir_ / "train", dir_ / "held",
                            progress, {});
    const TokenSegments segments = TokenSegments::open(dir_ / "train");
    Ids tokens;
    for (std::int64_t i = 0; i < segments.size(); ++i) {
      tokens.insert(tokens.end(), segments[i].begin(), segments[i].end());
    }
    return tokens;
  }

  testing::TempDir dir_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  DataSummary summary_;
};

// " he" is "▁", "h", "e" (3, 11, 8) here; its own encoding would be another.
TEST_F(SynthRows, TokensStandWhenTheyGiveTheText) {
  const Ids chosen = {1, 3, 11, 8};
  const std::string text = tokenizer_->decode(chosen, true);
  ASSERT_NE(tokenizer_->encode(text, {}), chosen);
  EXPECT_EQ(read(R"({"text": ")" + text + R"(", "tokens": [1, 3, 11, 8]})"), chosen);
  EXPECT_EQ(summary_.documents, 1);
}

TEST_F(SynthRows, TheTextStandsWhenTokensAreAnothers) {
  Ids encoded = tokenizer_->encode("he", {});
  encoded.push_back(tokenizer_->eos());
  encoded.resize(encoded.size() / 2 * 2);  // whole segments
  for (const char* tokens : {"[1, 12, 8]", "[99999]", "[-1, 11, 8]", "[1, 3, 11, 8, 40]", "[]"}) {
    EXPECT_EQ(read(std::string(R"({"text": "he", "tokens": )") + tokens + "}"), encoded) << tokens;
  }
}

TEST_F(SynthRows, TokensAloneMustBeInTheVocabulary) {
  EXPECT_EQ(read(R"({"tokens": [5, 6]})"), (Ids{5, 6}));
  try {
    read(R"({"tokens": [5, 37]})");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(e.what(), ::testing::EndsWith("line 1: found token id 37, expected 0 to 36"));
  }
}

}  // namespace
}  // namespace onebit::distill
