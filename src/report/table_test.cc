#include "report/table.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace onebit::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Table example() {
  Table table{.id = "t", .caption = "A <caption>", .remark = "A remark"};
  table.columns = {{.name = "model", .words = true},
                   {.name = "ppl", .group = "wiki|pedia", .better = Better::kLower},
                   {.name = "acc", .better = Better::kHigher, .digits = 1}};
  table.rows = {{text_cell("one"), number_cell(20.125, 0.25), number_cell(50)},
                {text_cell("<b>two"), number_cell(10.5), number_cell(60, 1.25)},
                {text_cell("three"), {}, number_cell(60)}};
  return table;
}

TEST(NumberText, ReadsWell) {
  EXPECT_EQ(number_text(20.126, 2), "20.13");
  EXPECT_EQ(number_text(0, 2), "0.00");
  EXPECT_EQ(number_text(-0.001, 2), "0.00");
  EXPECT_EQ(number_text(-1.5, 1), "−1.5");
  EXPECT_EQ(number_text(12345.6, 2), "12346");
  EXPECT_EQ(number_text(2316671.71, 2), "2.32e+06");
  EXPECT_EQ(number_text(INFINITY, 2), "∞");
  EXPECT_EQ(number_text(NAN, 2), "NaN");
}

TEST(NoteSign, GoesOnAfterZ) {
  EXPECT_EQ(note_sign(0), "a");
  EXPECT_EQ(note_sign(25), "z");
  EXPECT_EQ(note_sign(26), "aa");
  EXPECT_EQ(note_sign(52), "ba");
}

TEST(MarkBest, OfComparableValues) {
  Table table = example();
  mark_best(table);
  EXPECT_FALSE(table.rows[0][1].best);
  EXPECT_TRUE(table.rows[1][1].best);
  EXPECT_TRUE(table.rows[1][2].best);  // equals are all best
  EXPECT_TRUE(table.rows[2][2].best);
  table = example();
  table.rows[1][1].comparable = false;
  mark_best(table);
  EXPECT_FALSE(table.rows[0][1].best);  // alone there is no best
  EXPECT_FALSE(table.rows[1][1].best);
}

TEST(NoteDifferences, FromWhatMostHave) {
  Table table = example();
  const Settings usual = {{"shots", "5"}, {"split", "test"}};
  const Settings other = {{"shots", "0"}};  // says nothing of its split
  EXPECT_TRUE(note_differences({&usual, &other, &usual}, column_cells(table, 1), table));
  EXPECT_TRUE(table.rows[0][1].comparable);
  EXPECT_FALSE(table.rows[1][1].comparable);
  ASSERT_EQ(table.notes.size(), 1U);
  EXPECT_EQ(table.notes[0], "measured otherwise: shots 0 (others: 5)");
  EXPECT_FALSE(note_differences({&usual, nullptr, &usual}, column_cells(table, 2), table));
  EXPECT_EQ(table.notes.size(), 1U);
}

TEST(NoteDifferences, TheFirstDecidesBetweenTwo) {
  Table table = example();
  const Settings one = {{"window", "2048"}};
  const Settings two = {{"window", "512"}};
  note_differences({&one, &two, nullptr}, column_cells(table, 1), table);
  EXPECT_TRUE(table.rows[0][1].comparable);
  EXPECT_FALSE(table.rows[1][1].comparable);
}

TEST(TableHtml, IsAccessibleAndEscaped) {
  Table table = example();
  table.rows[0][1].notes.push_back(table.note("a note & more"));
  mark_best(table);
  const std::string html = table_html(table);
  EXPECT_THAT(html,
              HasSubstr("<caption><span id=\"t-caption\">A &lt;caption&gt;.</span></caption>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"colgroup\" colspan=\"1\">wiki|pedia</th>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">&lt;b&gt;two</th>"));
  EXPECT_THAT(html, Not(HasSubstr("<b>two")));
  EXPECT_THAT(html, HasSubstr("20.12<sup><a href=\"#t-note-a\" aria-label=\"note a\">a</a></sup> "
                              "<span class=\"error\">± 0.25</span>"));
  EXPECT_THAT(html, HasSubstr("<strong>10.50</strong>"));
  EXPECT_THAT(html, HasSubstr("<li id=\"t-note-a\">a note &amp; more</li>"));
  EXPECT_THAT(html, Not(HasSubstr("<details>")));
  table.folded = true;
  EXPECT_THAT(table_html(table), HasSubstr("<summary>A &lt;caption&gt; (3 rows)</summary>"));
}

TEST(TableMarkdown, HasOneLineARow) {
  Table table = example();
  table.rows[0][1].notes.push_back(table.note("why"));
  mark_best(table);
  EXPECT_EQ(table_markdown(table),
            "A &lt;caption&gt;.\n\n"
            "| model | wiki\\|pedia: ppl | acc |\n"
            "|---|---:|---:|\n"
            "| one | 20.12 ± 0.25 <sup>a</sup> | 50.0 |\n"
            "| &lt;b&gt;two | **10.50** | **60.0** ± 1.2 |\n"
            "| three |  | **60.0** |\n"
            "\n- <sup>a</sup> why\n\nA remark\n");
}

TEST(TableCsv, HasFullPrecisionErrorsAndNotes) {
  Table table = example();
  table.rows[0][1].value = 20.0 / 3;
  table.rows[0][1].notes.push_back(table.note("why, so"));
  table.columns[2].error_name = "deviation";
  EXPECT_EQ(
      table_csv(table),
      "model,wiki|pedia: ppl,wiki|pedia: ppl stderr,wiki|pedia: ppl notes,acc,acc deviation\r\n"
      "one,6.666666666666667,0.25,\"why, so\",50,\r\n"
      "<b>two,10.5,,,60,1.25\r\n"
      "three,,,,60,\r\n");
}

TEST(TableCell, TextIsForPeopleAndTheNumberForPrograms) {
  Table table = example();
  table.rows = {{text_cell("one"), number_cell(1e-9), {}}};
  table.rows[0][1].text = "< 0.0001";
  EXPECT_THAT(table_html(table), HasSubstr("&lt; 0.0001"));
  EXPECT_THAT(table_csv(table), HasSubstr("one,1e-09,"));
}

}  // namespace
}  // namespace onebit::report
