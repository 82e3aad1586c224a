#include "report/markup.h"

#include <gtest/gtest.h>

namespace onebit::report {
namespace {

TEST(CleanText, KeepsUtf8AndReplacesWhatIsNone) {
  EXPECT_EQ(clean_text("žluť 漢字 😀"), "žluť 漢字 😀");
  EXPECT_EQ(clean_text("a\tb\nc\rd"), "a b c d");
  EXPECT_EQ(clean_text(std::string("\0\x1b[31m\x7f", 7)), "��[31m�");
  EXPECT_EQ(clean_text("\xff"), "�");
  EXPECT_EQ(clean_text("\xc2"), "�");                 // cut off
  EXPECT_EQ(clean_text("\xc0\xaf"), "��");            // a long form of '/'
  EXPECT_EQ(clean_text("\xed\xa0\x80"), "���");       // a surrogate
  EXPECT_EQ(clean_text("\xf4\x90\x80\x80"), "����");  // beyond U+10FFFF
  EXPECT_EQ(clean_text("\xc2\x85"), "�");             // U+0085
  EXPECT_EQ(clean_text("a\u202Eb"), "a�b");           // turns the direction of writing
  EXPECT_EQ(clean_text(""), "");
}

TEST(HtmlText, LeavesNoMarkup) {
  EXPECT_EQ(html_text("<script>alert('x' & \"y\")</script>"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
}

TEST(MarkdownText, EscapesMarkup) {
  EXPECT_EQ(markdown_text("a|b*c`d<e>[f]"), "a\\|b\\*c\\`d&lt;e&gt;\\[f\\]");
  EXPECT_EQ(markdown_text("wiki_test"), "wiki_test");  // within a word it is plain
  EXPECT_EQ(markdown_text("_a_"), "\\_a\\_");
  EXPECT_EQ(markdown_text("two\nlines"), "two lines");
}

TEST(CsvText, QuotesAndDisarms) {
  EXPECT_EQ(csv_text("plain"), "plain");
  EXPECT_EQ(csv_text("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_text("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_text("=1+1"), "'=1+1");
  EXPECT_EQ(csv_text("@x"), "'@x");
  EXPECT_EQ(csv_text("a\nb"), "a b");
}

TEST(GnuplotQuoted, NothingEndsIt) {
  EXPECT_EQ(gnuplot_quoted("it's `id`\n\"x\""), "'it''s `id` \"x\"'");
}

TEST(Shortened, CountsCharacters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "ab…");
  EXPECT_EQ(shortened("žlutý", 3), "žl…");
  EXPECT_EQ(shortened("ab", 1), "…");
  EXPECT_EQ(shortened("", 3), "");
}

TEST(TextWidth, GrowsWithTheText) {
  EXPECT_EQ(text_width(""), 0);
  EXPECT_DOUBLE_EQ(text_width("ab"), 2 * text_width("a"));
  EXPECT_GT(text_width("漢"), text_width("a"));
}

}  // namespace
}  // namespace onebit::report
