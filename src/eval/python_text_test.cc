#include "eval/python_text.h"

#include <gtest/gtest.h>

namespace onebit::eval {
namespace {

TEST(PythonText, Strip) {
  EXPECT_EQ(strip("  a b\n"), "a b");
  EXPECT_EQ(rstrip("  a b\n"), "  a b");
  EXPECT_EQ(strip(""), "");
  EXPECT_EQ(strip(" \t\n\v\f\r"), "");
  EXPECT_EQ(rstrip("a\u00a0\u2003\u3000 \u2028"), "a");
  EXPECT_EQ(strip("\u1680\u205f\u202fé\u0085\x1c\x1f"), "é");
  EXPECT_EQ(rstrip("\u200b"), "\u200b");  // a zero-width space is none
  EXPECT_EQ(rstrip("日本"), "日本");
}

TEST(PythonText, ReplaceAll) {
  EXPECT_EQ(replace_all("a  b   c    d", "  ", " "), "a b  c  d");
  EXPECT_EQ(replace_all("x [title]y [title]", " [title]", ". "), "x. y. ");
  EXPECT_EQ(replace_all("aaa", "aa", "b"), "ba");
  EXPECT_EQ(replace_all("", "aa", "b"), "");
}

TEST(PythonText, Capitalize) {
  EXPECT_EQ(capitalize("he SAYS Hello"), "He says hello");
  EXPECT_EQ(capitalize(""), "");
  EXPECT_EQ(capitalize(" he"), " he");
  EXPECT_EQ(capitalize("été À"), "Été à");
  EXPECT_EQ(capitalize("ǆA"), "ǅa");  // title case, not upper case
  EXPECT_EQ(capitalize("3 ÄPFEL"), "3 äpfel");
}

TEST(PythonText, Characters) {
  EXPECT_EQ(characters(""), 0);
  EXPECT_EQ(characters("abc "), 4);
  EXPECT_EQ(characters("é日\U0001F600"), 3);
}

}  // namespace
}  // namespace onebit::eval
