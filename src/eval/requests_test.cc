#include "eval/requests.h"

#include <gmock/gmock.h>

#include "eval/test_eval.h"

namespace onebit::eval {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::kAb;
using testing::kBos;
using testing::kSpaceA;
using testing::kSpaceAb;
using testing::make_tokenizer;
using text::TokenId;

Request encode_one(std::string context, std::string continuation, bool adds_bos = false) {
  const Prompt prompt = {std::move(context), std::move(continuation)};
  return encode({&prompt, 1}, *make_tokenizer(adds_bos)).at(0);
}

TEST(Encode, TheContinuationIsWhatFollowsTheContextsTokens) {
  const Request request = encode_one("x", " ab");
  EXPECT_THAT(request.context, ElementsAre('x'));
  EXPECT_THAT(request.continuation, ElementsAre(kSpaceAb));
}

TEST(Encode, SpacesMoveToTheContinuation) {
  const Request request = encode_one("x ", "ab");
  EXPECT_THAT(request.context, ElementsAre('x'));
  EXPECT_THAT(request.continuation, ElementsAre(kSpaceAb));
  const Request lines = encode_one("x\n\n", "ab");
  EXPECT_THAT(lines.context, ElementsAre('x'));
  EXPECT_THAT(lines.continuation, ElementsAre('\n', '\n', kAb));
}

TEST(Encode, TokensThatSpanTheBorder) {
  // "a" + "b" is one token, of which the context's count leaves nothing; more text leaves that.
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [] { encode_one("a", "b"); }),
              HasSubstr("1 tokens of context and 0 to predict"));
  const Request request = encode_one("a", "bx");
  EXPECT_THAT(request.context, ElementsAre('a'));
  EXPECT_THAT(request.continuation, ElementsAre('x'));
}

TEST(Encode, Bos) {
  const Request request = encode_one("x", " a", true);
  EXPECT_THAT(request.context, ElementsAre(kBos, 'x'));
  EXPECT_THAT(request.continuation, ElementsAre(kSpaceA));
  // A text that begins with it gets no second one, and it is found in the text.
  const Request written = encode_one("<s>x", " a", true);
  EXPECT_THAT(written.context, ElementsAre(kBos, 'x'));
  EXPECT_THAT(written.continuation, ElementsAre(kSpaceA));
}

TEST(Encode, AnEmptyContextIsBos) {
  for (const bool adds_bos : {false, true}) {
    const Request request = encode_one("", " ab", adds_bos);
    EXPECT_THAT(request.context, ElementsAre(kBos));
    EXPECT_THAT(request.continuation, ElementsAre(kSpaceAb));
    const Request begins = encode_one("", "<s>ab", adds_bos);
    EXPECT_THAT(begins.context, ElementsAre(kBos));
    EXPECT_THAT(begins.continuation, ElementsAre(kAb));
  }
}

TEST(Encode, NothingToPredictItFrom) {
  // A context of spaces alone, which all go to the continuation.
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [] { encode_one(" ", "ab"); }),
              HasSubstr("0 tokens of context"));
  EXPECT_THAT(encode_one(" ", "ab", true).context, ElementsAre(kBos));
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [] { encode_one("", ""); }),
              HasSubstr("0 to predict"));
}

TEST(Encode, ContextsThatFollowOneAnother) {
  const Prompt prompts[] = {{"x", " a"}, {"x", " ab"}, {"y", " a"}};
  const auto requests = encode(prompts, *make_tokenizer(true));
  EXPECT_THAT(requests[1].context, ElementsAre(kBos, 'x'));
  EXPECT_THAT(requests[1].continuation, ElementsAre(kSpaceAb));
  EXPECT_THAT(requests[2].context, ElementsAre(kBos, 'y'));
}

/// "run tokens: choice.index@position=token …" of every run.
std::vector<std::string> text_of(const DocumentPlan& plan) {
  std::vector<std::string> runs;
  for (const DocumentPlan::Run& run : plan.runs) {
    std::string text;
    for (const TokenId token : run.tokens) text += std::to_string(token) + " ";
    text += ":";
    for (const auto& read : run.reads) {
      text += " " + std::to_string(read.choice) + "." + std::to_string(read.index) + "@" +
              std::to_string(read.position) + "=" + std::to_string(read.token);
    }
    runs.push_back(text);
  }
  return runs;
}

TEST(Plan, OneChoice) {
  const Request requests[] = {{{1, 2}, {3, 4, 5}}};
  const DocumentPlan plan = make_plan(requests, 10);
  EXPECT_THAT(text_of(plan), ElementsAre("1 2 3 4 : 0.0@1=3 0.1@2=4 0.2@3=5"));
  EXPECT_EQ(plan.runs[0].sequence().first, 1);
  EXPECT_THAT(plan.lengths, ElementsAre(3));
  EXPECT_FALSE(plan.truncated);
}

TEST(Plan, ChoicesOfOneTokenShareOneRun) {
  const Request requests[] = {{{1, 2}, {7}}, {{1, 2}, {8}}, {{1, 2}, {7}}};
  EXPECT_THAT(text_of(make_plan(requests, 10)), ElementsAre("1 2 : 0.0@1=7 1.0@1=8 2.0@1=7"));
}

TEST(Plan, WhatBeginsAnotherIsReadThere) {
  const Request requests[] = {
      {{1, 2}, {7}}, {{1, 2}, {8, 9}}, {{1, 2}, {8, 9, 7}}, {{1, 2}, {9, 1}}};
  EXPECT_THAT(text_of(make_plan(requests, 10)),
              ElementsAre("1 2 8 9 : 2.0@1=8 1.0@1=8 0.0@1=7 2.1@2=9 1.1@2=9 2.2@3=7",
                          "1 2 9 : 3.0@1=9 3.1@2=1"));
}

TEST(Plan, ContextsOfTheirOwn) {
  const Request requests[] = {{{1, 2}, {5, 6}}, {{1, 3}, {5, 6}}};
  EXPECT_THAT(text_of(make_plan(requests, 10)),
              ElementsAre("1 2 5 : 0.0@1=5 0.1@2=6", "1 3 5 : 1.0@1=5 1.1@2=6"));
}

TEST(Plan, LongContextsLoseTheirBeginning) {
  const Request exact[] = {{{1, 2, 3}, {4, 5}}};
  EXPECT_FALSE(make_plan(exact, 4).truncated);  // the last token is no input
  const Request requests[] = {{{1, 2, 3}, {4, 5}}, {{1, 2, 3}, {6}}};
  const DocumentPlan plan = make_plan(requests, 3);
  EXPECT_TRUE(plan.truncated);
  EXPECT_THAT(text_of(plan), ElementsAre("2 3 4 : 0.0@1=4 0.1@2=5", "1 2 3 : 1.0@2=6"));
}

TEST(Plan, ChoicesAsLongAsTheContext) {
  const Request requests[] = {{{1, 2}, {3, 4, 5}}};
  EXPECT_THAT(text_of(make_plan(requests, 3)), ElementsAre("2 3 4 : 0.0@0=3 0.1@1=4 0.2@2=5"));
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { make_plan(requests, 2); }),
              HasSubstr("a choice of 3 tokens, expected at most 2"));
}

}  // namespace
}  // namespace onebit::eval
