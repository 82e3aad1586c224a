#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/test_records.h"

namespace onebit::report {
namespace {

using namespace ::onebit::report::testing;
using ::testing::HasSubstr;
using ::testing::Not;

std::string drawn(const Figure& figure) {
  return fmt::format("<svg><text>{}</text></svg>", figure.width);
}

TEST(Report, OfNastyNamesIsHarmless) {
  const std::string nasty = "<script>alert(\"x\")</script>|`&'";
  Json info = model_info('a', nasty, nasty);
  info["path"] = nasty;
  Json perplexity = perplexity_json(info, 20, nasty);
  perplexity["program"] = nasty;
  perplexity["protocol"] = nasty;
  Json other = perplexity_json(model_info('b', "b"), 30, nasty);
  const Comparison comparison(
      records({perplexity,
               other,
               eval_json(info, {{nasty, task_json(0.5)}, {"piqa", task_json(0.5)}}),
               {{"model", nasty},
                {"rows", {{{"matrix", nasty}, {"method", nasty}, {"bits", 1}, {"kl_mean", 1}}}}},
               {{"model", nasty},
                {"results", {{{"test", nasty}, {"threads", 1}, {"tokens_per_second", 1}}}}}}),
      {});
  const Report report = build_report(comparison, {}, nasty, nasty);
  const std::string html = report_html(report, drawn);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("alert(\"")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(report_markdown(report), Not(HasSubstr("<script")));
}

TEST(Report, NeedsNothingElse) {
  const Comparison comparison(records({perplexity_json(model_info('a', "one")),
                                       perplexity_json(model_info('b', "two"), 30)}),
                              {});
  const Report report = build_report(comparison, {}, "Title", "onebit 0.1.0");
  const std::string html = report_html(report, drawn);
  for (const char* elsewhere : {"http:", "https:", "src=", "@import", "url(", "<link", "<script"}) {
    EXPECT_THAT(html, Not(HasSubstr(elsewhere)));
  }
  EXPECT_THAT(html, HasSubstr("<meta name=\"viewport\""));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_EQ(html, report_html(build_report(comparison, {}, "Title", "onebit 0.1.0"), drawn));
  EXPECT_EQ(report.figure_count(), 2U);
  EXPECT_EQ(report.table_count(), 3U);  // sources, main, size
}

TEST(Report, WarnsOfWhatIsMeasuredOtherwise) {
  Json other = perplexity_json(model_info('b', "two"), 30);
  other["window"] = 77;
  const Comparison comparison(records({perplexity_json(model_info('a', "one")), other}), {});
  const Report report = build_report(comparison, {}, "t", "p");
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_THAT(report.warnings[0], HasSubstr("1 number is measured otherwise"));
  EXPECT_THAT(report_html(report, drawn), HasSubstr("role=\"note\""));
  EXPECT_THAT(report_markdown(report), HasSubstr("**Before you compare:**"));
}

TEST(Report, CsvIsAFileATable) {
  const Comparison comparison(records({perplexity_json(model_info('a', "one"))}), {});
  const auto files = report_csv(build_report(comparison, {}, "t", "p"));
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[1].first, "main.csv");
  EXPECT_EQ(files[1].second,
            "model,method,bits,perplexity: wiki.raw,perplexity: wiki.raw "
            "stderr\r\none,onebit,1.05,20,0.5\r\n");
}

}  // namespace
}  // namespace onebit::report
