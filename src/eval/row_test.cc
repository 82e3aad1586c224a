#include "eval/row.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "eval/test_eval.h"

namespace onebit::eval {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::row;

std::string rows_error(std::string_view content) {
  return error_of(ErrorCode::kCorrupt, [&] { read_rows("set.jsonl", content); });
}

template <class Read>
std::string field_error(const std::string& json, const Read& read) {
  return error_of(ErrorCode::kCorrupt, [&] { read(row(json)); });
}

TEST(Row, ReadsFields) {
  const Row r = row(R"({"t": "é", "list": ["a", ""], "o": {"t": "inner"}, "os": [{"t": "x"}],
                        "n": 1, "d": "1", "b": true, "z": 0})");
  EXPECT_EQ(r.text("t"), "é");
  EXPECT_THAT(r.texts("list"), ElementsAre("a", ""));
  EXPECT_EQ(r.object("o").text("t"), "inner");
  EXPECT_EQ(r.objects("os").at(0).text("t"), "x");
  EXPECT_EQ(r.label("n", 2), 1U);
  EXPECT_EQ(r.label("d", 2), 1U);
  EXPECT_EQ(r.label("d", 2, 1), 0U);
  EXPECT_TRUE(r.truth("b"));
  EXPECT_FALSE(r.truth("z"));
  EXPECT_TRUE(r.has("n"));
  EXPECT_FALSE(r.has("m"));
  EXPECT_TRUE(r.is_object("o"));
  EXPECT_FALSE(r.is_object("t"));
  EXPECT_FALSE(r.is_object("m"));
}

TEST(Row, RowsOfAFile) {
  const auto rows = read_rows("set.jsonl", "\n{\"t\":\"a\"}\r\n \n{\"t\":\"b\"}");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].text("t"), "b");
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { rows[1].text("u"); }),
              HasSubstr("set.jsonl, line 4: u: found no such field, expected a string"));
}

TEST(Row, EqualFields) {
  EXPECT_TRUE(row(R"({"a": 1, "b": "x"})") == row(R"({"b":"x","a":1})"));
  EXPECT_FALSE(row(R"({"a": 1})") == row(R"({"a": 2})"));
}

TEST(Row, BrokenFilesNameTheLine) {
  EXPECT_EQ(rows_error(""), "set.jsonl: found no rows, expected a JSON object a line");
  EXPECT_EQ(rows_error("\n \n"), "set.jsonl: found no rows, expected a JSON object a line");
  EXPECT_EQ(rows_error("{}\n{\"a\":"),
            "set.jsonl, line 2: found text that is not JSON, expected an object");
  EXPECT_EQ(rows_error("{}\n\n[1]"), "set.jsonl, line 3: found an array, expected an object");
  EXPECT_EQ(rows_error("7"), "set.jsonl, line 1: found 7, expected an object");
  EXPECT_THAT(rows_error("{\"a\":\"\xFF\"}"), HasSubstr("not JSON"));
  EXPECT_THAT(rows_error("{\"a\":\"\\ud800\"}"), HasSubstr("not JSON"));
}

TEST(Row, WrongTypesNameTheField) {
  EXPECT_EQ(field_error(R"({"t": null})", [](const Row& r) { r.text("t"); }),
            "data.jsonl, line 1: t: found null, expected a string");
  EXPECT_EQ(field_error(R"({"t": [1]})", [](const Row& r) { r.text("t"); }),
            "data.jsonl, line 1: t: found an array, expected a string");
  EXPECT_EQ(field_error(R"({"t": "x"})", [](const Row& r) { r.texts("t"); }),
            "data.jsonl, line 1: t: found \"x\", expected an array of strings");
  EXPECT_EQ(field_error(R"({"t": ["x", 3]})", [](const Row& r) { r.texts("t"); }),
            "data.jsonl, line 1: t: found 3 in it, expected an array of strings");
  EXPECT_EQ(field_error(R"({"o": {"t": {}}})", [](const Row& r) { r.object("o").text("t"); }),
            "data.jsonl, line 1: o: t: found an object, expected a string");
  EXPECT_EQ(field_error(R"({"o": [{}, {}]})", [](const Row& r) { r.objects("o")[1].text("t"); }),
            "data.jsonl, line 1: o[1]: t: found no such field, expected a string");
  EXPECT_EQ(field_error(R"({"o": [2]})", [](const Row& r) { r.objects("o"); }),
            "data.jsonl, line 1: o: found 2 in it, expected an array of objects");
  EXPECT_EQ(field_error(R"({"o": 1.5})", [](const Row& r) { r.object("o"); }),
            "data.jsonl, line 1: o: found 1.5, expected an object");
  EXPECT_EQ(field_error(R"({"b": "true"})", [](const Row& r) { r.truth("b"); }),
            "data.jsonl, line 1: b: found \"true\", expected true or false");
  EXPECT_EQ(field_error(R"({"b": 2})", [](const Row& r) { r.truth("b"); }),
            "data.jsonl, line 1: b: found 2, expected true or false");
}

TEST(Row, LabelsOutOfRange) {
  for (const char* label : {"-1", "4", "1.0", "\"4\"", "\"\"", "\"01\"", "true", "null", "\"A\"",
                            "18446744073709551615"}) {
    EXPECT_EQ(
        field_error("{\"l\": " + std::string(label) + "}", [](const Row& r) { r.label("l", 4); }),
        "data.jsonl, line 1: l: found " + std::string(label) + ", expected a number from 0 to 3");
  }
  EXPECT_THAT(field_error(R"({"l": "0"})", [](const Row& r) { r.label("l", 2, 1); }),
              HasSubstr("expected a number from 1 to 2"));
}

}  // namespace
}  // namespace onebit::eval
