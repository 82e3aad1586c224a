// Tests of how a text file becomes rows: wikitext (golden table), JSONL, whole files.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/sha256.h"
#include "base/test_paths.h"
#include "eval/perplexity.h"

namespace onebit::eval {
namespace {

using ::testing::HasSubstr;

nlohmann::json wikitext_golden() {
  return nlohmann::json::parse(read_file(testing::golden("eval/wikitext_rows.json")));
}

std::string error_of(std::string_view content) {
  try {
    join_rows("data.jsonl", content, Rows::kAuto);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.what();
  }
  return "no error";
}

TEST(Rows, WikitextJoinsAsTheReferenceLoaderDoes) {
  const auto golden = wikitext_golden();
  ASSERT_GE(golden["cases"].size(), 10U);
  for (const auto& c : golden["cases"]) {
    EXPECT_EQ(join_rows("x.txt", c["content"].get<std::string>(), Rows::kWikitext), c["joined"])
        << c["content"];
  }
}

TEST(Rows, WikitextTestSplit) {
  const auto path = testing::shared_data("wikitext2/wiki.test.raw");
  ONEBIT_REQUIRE_FILE(path);
  const auto golden = wikitext_golden()["wikitext2_test"];
  const std::string joined = join_rows(path.string(), read_file(path), Rows::kAuto);
  EXPECT_EQ(joined.size(), golden["joined_bytes"]);
  Sha256 hash;
  hash.update(std::as_bytes(std::span(joined)));
  EXPECT_EQ(hash.hex(), golden["joined_sha256"]);
}

TEST(Rows, KindFollowsTheName) {
  const std::string content = "{\"text\": \"a\"}\n \n";
  EXPECT_EQ(join_rows("x.raw", content, Rows::kAuto), "{\"text\": \"a\"}\n\n\n");
  EXPECT_EQ(join_rows("x.jsonl", content, Rows::kAuto), "a");
  EXPECT_EQ(join_rows("x.txt", content, Rows::kAuto), content);
  EXPECT_EQ(join_rows("x.raw", content, Rows::kWhole), content);
  EXPECT_EQ(join_rows("x", content, Rows::kJsonl), "a");
}

TEST(Rows, OfTheProtocolOfLlamaCpp) {
  const auto llama_cpp = Protocol::kLlamaCpp;
  EXPECT_EQ(join_rows("x.raw", " a \n \n\n", Rows::kAuto, llama_cpp), " a \n \n");
  EXPECT_EQ(join_rows("x.txt", "a", Rows::kWhole, llama_cpp), "a");
  EXPECT_EQ(join_rows("x.txt", "\n", Rows::kWhole, llama_cpp), "");
  EXPECT_EQ(join_rows("x.jsonl", "{\"text\": \"a\\n\"}\n", Rows::kAuto, llama_cpp), "a\n");
  EXPECT_EQ(join_rows("x.raw", "a\n", Rows::kWikitext, llama_cpp), "a\n");
}

TEST(Rows, JsonlJoinsDocuments) {
  EXPECT_EQ(
      join_rows("d.jsonl", "{\"text\":\"one\\n\"}\r\n\n{\"n\":1,\"text\":\"\"}\n{\"text\":\"é\"}",
                Rows::kAuto),
      "one\n\n\n\n\né");
  EXPECT_EQ(join_rows("d.jsonl", "", Rows::kAuto), "");
}

TEST(Rows, JsonlErrorsNameTheLine) {
  EXPECT_THAT(error_of("{\"text\":\"a\"}\n\n{\"text\":\n"), HasSubstr("data.jsonl, line 3:"));
  EXPECT_THAT(error_of("{\"text\":\"a\"}\n{\"txt\":\"b\"}\n"),
              HasSubstr("line 2: found an object"));
  EXPECT_THAT(error_of("[1]\n"), HasSubstr("line 1: found array"));
  EXPECT_THAT(error_of("{\"text\":7}\n"), HasSubstr("line 1:"));
  EXPECT_THAT(error_of("{\"text\":\"\xFF\"}\n"), HasSubstr("line 1:"));
}

}  // namespace
}  // namespace onebit::eval
