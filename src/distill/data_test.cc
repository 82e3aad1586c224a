// Text becomes segments: what is in them, where documents end, which side of the split they are on,
// and what happens to files that are not what they claim.
#include "distill/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::distill {
namespace {

using ::testing::HasSubstr;
using text::TokenId;

class Data : public ::testing::Test {
 protected:
  DataSummary prepare(const std::vector<std::filesystem::path>& files, const DataOptions& options) {
    NoProgress progress;
    return prepare_data(files, *tokenizer_, options, train_, held_out_, progress, {});
  }

  std::filesystem::path file(const char* name, std::string_view content) {
    write_file(folder_ / name, content);
    return folder_ / name;
  }

  static std::vector<TokenId> all(const std::filesystem::path& path) {
    const TokenSegments segments = TokenSegments::open(path);
    std::vector<TokenId> tokens;
    for (std::int64_t i = 0; i < segments.size(); ++i) {
      tokens.insert(tokens.end(), segments[i].begin(), segments[i].end());
    }
    return tokens;
  }

  std::string error_of(const std::vector<std::filesystem::path>& files, ErrorCode code,
                       const DataOptions& options = {.length = 4}) {
    try {
      prepare(files, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_FALSE(std::filesystem::exists(train_)) << "a failed run left a file";
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  onebit::testing::TempDir folder_;
  std::filesystem::path train_ = folder_ / "train.tokens";
  std::filesystem::path held_out_ = folder_ / "held_out.tokens";
  std::unique_ptr<text::Tokenizer> tokenizer_ =
      text::make_tokenizer(arch::test_models::tiny_tokenizer());
};

constexpr DataOptions kAllTrain{.length = 4, .held_out = 0};

TEST_F(Data, DocumentsAreJoinedWithTheirEnds) {
  const auto path = file("a.jsonl",
                         "{\"text\":\"the inn\"}\n"
                         "\n"
                         "{\"tokens\":[5,6,7]}\n"
                         "{\"text\":\"an\"}\n");
  std::vector<TokenId> expected;
  for (const char* text : {"the inn", "", "an"}) {
    if (*text == 0) {
      expected.insert(expected.end(), {5, 6, 7});
      continue;
    }
    for (const TokenId id : tokenizer_->encode(text, {.add_special = true})) expected.push_back(id);
    expected.push_back(tokenizer_->eos());
  }
  const DataSummary summary = prepare({path}, kAllTrain);
  EXPECT_EQ(summary.documents, 3);
  const auto whole = static_cast<std::ptrdiff_t>(expected.size() / 4 * 4);
  EXPECT_EQ(summary.train_segments, whole / 4);
  EXPECT_EQ(summary.dropped_tokens, std::ssize(expected) - whole);
  EXPECT_EQ(all(train_), std::vector<TokenId>(expected.begin(), expected.begin() + whole));
  EXPECT_EQ(TokenSegments::open(held_out_).size(), 0);
}

// " he" is "▁", "h", "e" (3, 11, 8) here; its own encoding would be another.
TEST_F(Data, RowsOfSynthKeepTheTokensThatTheTeacherChose) {
  const std::vector<TokenId> chosen = {1, 3, 11, 8};
  ASSERT_EQ(tokenizer_->decode(chosen, true), "he");
  ASSERT_NE(tokenizer_->encode("he", {}), chosen);
  const auto path = file("a.jsonl", R"({"text": "he", "tokens": [1, 3, 11, 8]})");
  EXPECT_EQ(prepare({path}, kAllTrain).documents, 1);
  EXPECT_EQ(all(train_), chosen);
}

TEST_F(Data, TheTextStandsWhenTokensAreOfAnotherTokenizer) {
  std::vector<TokenId> encoded = tokenizer_->encode("he", {});
  encoded.push_back(tokenizer_->eos());
  ASSERT_EQ(encoded.size(), 4U);  // a whole segment
  for (const char* tokens : {"[1, 12, 8]", "[99999]", "[-1, 11, 8]", "[1, 3, 11, 8, 40]", "[]"}) {
    const std::string row = std::string(R"({"text": "he", "tokens": )") + tokens + "}";
    EXPECT_EQ(prepare({file("a.jsonl", row)}, kAllTrain).documents, 1);
    EXPECT_EQ(all(train_), encoded) << tokens;
  }
}

// A text of many blocks is the same tokens as one piece: cuts fall on line ends.
TEST_F(Data, LongTextIsOneDocument) {
  std::string text;
  while (text.size() < 3 * kTextBlock + 100) text += "the inn on the inner rein\n";
  const DataSummary summary = prepare({file("a.txt", text)}, kAllTrain);
  EXPECT_EQ(summary.documents, 1);
  std::vector<TokenId> tokens = all(train_);
  EXPECT_EQ(tokens.front(), tokenizer_->bos());
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), tokenizer_->bos()), 1);
  EXPECT_LE(std::count(tokens.begin(), tokens.end(), tokenizer_->eos()), 1);
  // A cut may change the tokens beside it, nothing else: 4 pieces.
  const auto whole = std::ssize(tokenizer_->encode(text, {.add_special = true})) + 1;
  EXPECT_NEAR(summary.train_segments * 4 + summary.dropped_tokens, whole, 4);
}

// Blocks end inside a three-byte character: no byte may be lost or seen twice.
TEST_F(Data, CharactersAreNotCut) {
  std::string text;
  while (text.size() < 2 * kTextBlock + 10) text += "\u2581";
  const DataSummary summary = prepare({file("a.txt", text)}, kAllTrain);
  EXPECT_EQ(summary.documents, 1);
  const std::vector<TokenId> tokens = all(train_);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 0), 0) << "an unknown token from half a byte";
}

TEST_F(Data, SplitDependsOnTheDocumentOnly) {
  std::vector<std::string> rows;
  std::string forward;
  std::string backward;
  for (int i = 0; i < 400; ++i) {
    rows.push_back("{\"tokens\":[" + std::to_string(i % 37) + "," + std::to_string(i / 37) +
                   ",3,4]}\n");
    forward += rows.back();
    backward = rows.back() + backward;
  }
  const DataOptions options{.length = 4, .held_out = 0.25, .max_held_out = 400};
  const auto held_out_of = [&](const std::string& content) {
    const DataSummary summary = prepare({file("a.jsonl", content)}, options);
    EXPECT_EQ(summary.train_segments + summary.held_out_segments, 400);
    // 400 draws at 1/4: 100 ± 5 deviations of 8.7.
    EXPECT_NEAR(summary.held_out_segments, 100, 44);
    std::multiset<std::vector<TokenId>> found;
    const TokenSegments segments = TokenSegments::open(held_out_);
    for (std::int64_t i = 0; i < segments.size(); ++i) {
      found.insert({segments[i].begin(), segments[i].end()});
    }
    return found;
  };
  EXPECT_EQ(held_out_of(forward), held_out_of(backward));
}

TEST_F(Data, HeldOutIsLimited) {
  std::string rows;
  for (int i = 0; i < 200; ++i) rows += "{\"tokens\":[" + std::to_string(i % 37) + ",2,3,4]}\n";
  const DataSummary summary =
      prepare({file("a.jsonl", rows)}, {.length = 4, .held_out = 0.5, .max_held_out = 7});
  EXPECT_EQ(summary.held_out_segments, 7);
  EXPECT_EQ(TokenSegments::open(held_out_).size(), 7);
  EXPECT_EQ(summary.dropped_tokens, 4 * (200 - 7 - summary.train_segments));
}

TEST_F(Data, BadFilesAreNamed) {
  EXPECT_THAT(error_of({folder_ / "none.txt"}, ErrorCode::kNotFound), HasSubstr("none.txt"));
  EXPECT_THAT(error_of({file("a.jsonl", "{\"text\":\"a\"}\n{\"text\":")}, ErrorCode::kCorrupt),
              HasSubstr("a.jsonl: line 2: found no valid JSON"));
  EXPECT_THAT(error_of({file("a.jsonl", "[1]")}, ErrorCode::kCorrupt), HasSubstr("found array"));
  EXPECT_THAT(error_of({file("a.jsonl", "{\"text\":3}")}, ErrorCode::kCorrupt),
              HasSubstr("\"text\" of type number"));
  EXPECT_THAT(error_of({file("a.jsonl", "{\"tokens\":[36,37]}")}, ErrorCode::kCorrupt),
              HasSubstr("found token id 37, expected 0 to 36"));
  EXPECT_THAT(error_of({file("a.jsonl", "{\"tokens\":[1.5]}")}, ErrorCode::kCorrupt),
              HasSubstr("a token of type"));
  EXPECT_THAT(error_of({file("a.txt", "")}, ErrorCode::kInvalidArgument),
              HasSubstr("expected at least one segment of 4"));
  EXPECT_THAT(error_of({}, ErrorCode::kInvalidArgument, {.length = 1}), HasSubstr("found 1"));
}

TEST_F(Data, TornSegmentFilesAreNoticed) {
  prepare({file("a.jsonl", "{\"tokens\":[1,2,3,4,5,6,7,8]}")}, kAllTrain);
  const std::string whole = read_file(train_);
  EXPECT_EQ(TokenSegments::open(train_).size(), 2);
  for (const std::string& bad : {whole.substr(0, 63), whole.substr(0, whole.size() - 1),
                                 "X" + whole.substr(1), std::string()}) {
    write_file(train_, bad);
    EXPECT_THROW(TokenSegments::open(train_), Error) << bad.size();
  }
}

TEST(SegmentOrder, EveryEpochIsAnotherPermutation) {
  SegmentOrder order(50, 7);
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> second;
  for (std::int64_t i = 0; i < 50; ++i) first.push_back(order.at(i));
  for (std::int64_t i = 50; i < 100; ++i) second.push_back(order.at(i));
  EXPECT_NE(first, second);
  EXPECT_EQ(std::set<std::int64_t>(first.begin(), first.end()).size(), 50U);
  EXPECT_EQ(std::set<std::int64_t>(second.begin(), second.end()).size(), 50U);
  // Any position can be asked for alone, as a resumed run does.
  EXPECT_EQ(SegmentOrder(50, 7).at(73), second[23]);
  EXPECT_NE(SegmentOrder(50, 8).at(3) * 64 + SegmentOrder(50, 8).at(4), first[3] * 64 + first[4]);
}

}  // namespace
}  // namespace onebit::distill
