#include "runtime/text_stream.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "base/error.h"

namespace onebit::runtime {
namespace {

constexpr const char* kBad = "\xEF\xBF\xBD";

std::string decode(std::string_view bytes, std::size_t step) {
  Utf8Stream stream;
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += step) stream.feed(bytes.substr(i, step), out);
  stream.finish(out);
  return out;
}

TEST(Utf8Stream, ValidTextPassesInAnyDivision) {
  const std::string text = "a\u00e9\u20ac\ud7ff\ue000\U00010000\U0010ffff z";
  for (const std::size_t step : {1, 2, 3, 5, 100}) EXPECT_EQ(decode(text, step), text);
}

TEST(Utf8Stream, EmitsACharacterAtItsLastByte) {
  Utf8Stream stream;
  std::string out;
  stream.feed("x\xE2\x82", out);
  EXPECT_EQ(out, "x");
  stream.feed("\xAC", out);
  EXPECT_EQ(out, "x\u20ac");
}

// Expected values are bytes.decode("utf-8", errors="replace") of Python.
TEST(Utf8Stream, ReplacesEachMaximalIllFormedPart) {
  const std::string b = kBad;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\x80", b},
      {"a\xFF\xFE z", "a" + b + b + " z"},
      {"\xC0\xAF", b + b},                  // overlong
      {"\xE0\x80\xAF", b + b + b},          // overlong
      {"\xED\xA0\x80", b + b + b},          // a surrogate
      {"\xF4\x90\x80\x80", b + b + b + b},  // above U+10FFFF
      {"\xE2\x82", b},                      // unfinished at the end
      {"\xE2\x82z", b + "z"},
      {"\xF0\x9F\x98\xE2\x82\xAC", b + "\u20ac"},
      {"\xF0\x9F\x98", b},
  };
  for (const auto& [bytes, expected] : cases) {
    for (const std::size_t step : {1, 2, 100}) EXPECT_EQ(decode(bytes, step), expected);
  }
}

TEST(TextStream, StopsBeforeAStopTextAcrossPieces) {
  TextStream stream({"<end>", "###"});
  EXPECT_EQ(stream.feed("one <"), "one ");
  EXPECT_EQ(stream.feed("en"), "");
  EXPECT_EQ(stream.feed("x two #"), "<enx two ");  // it was no stop text after all
  EXPECT_EQ(stream.feed("#"), "");
  EXPECT_EQ(stream.feed("# three"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.feed("more"), "");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, TheEarliestStopTextWins) {
  TextStream stream({"cd", "b"});
  EXPECT_EQ(stream.feed("abcd"), "a");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, OverlappingBeginningsOfAStopText) {
  TextStream stream({"aab"});
  EXPECT_EQ(stream.feed("aaa"), "a");
  EXPECT_EQ(stream.feed("b!"), "");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, FinishReleasesWhatWasHeldBack) {
  TextStream stream({"stop"});
  EXPECT_EQ(stream.feed("a sto"), "a ");
  EXPECT_EQ(stream.feed("\xE2"), "");
  EXPECT_EQ(stream.finish(), std::string("sto") + kBad);
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStream, StopTextOfMultibyteCharactersCutInHalf) {
  TextStream stream({"\u00e9\u20ac"});
  EXPECT_EQ(stream.feed("x\xC3"), "x");
  EXPECT_EQ(stream.feed("\xA9\xE2\x82"), "");
  EXPECT_EQ(stream.feed("\xAC"), "");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, RefusesAnEmptyStopText) { EXPECT_THROW(TextStream({"a", ""}), Error); }

}  // namespace
}  // namespace onebit::runtime
