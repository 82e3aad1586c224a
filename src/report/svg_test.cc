#include "report/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "report/test_records.h"

namespace onebit::report {
namespace {

using ::onebit::report::testing::message_of;
using ::testing::HasSubstr;
using ::testing::Not;

const Figure kFigure = {
    .id = "f", .caption = "A <figure>", .alt = "Words & more", .width = 580, .height = 400};

std::string embed(const std::string& inside) {
  return embed_svg(
      "<?xml version=\"1.0\"?>\n<svg width=\"9\" viewBox=\"0 0 9 9\">\n<title>Gnuplot</title>\n" +
          inside + "</svg>\n",
      kFigure);
}

TEST(EmbedSvg, HasTheFiguresWords) {
  const std::string svg = embed("<g><path d='M0,0 L1,1'/></g>");
  EXPECT_THAT(
      svg,
      HasSubstr("<svg viewBox=\"0 0 580 400\" role=\"img\" aria-labelledby=\"f_title f_alt\">"));
  EXPECT_THAT(svg, HasSubstr("<title id=\"f_title\">A &lt;figure&gt;</title>"));
  EXPECT_THAT(svg, HasSubstr("<desc id=\"f_alt\">Words &amp; more</desc>"));
  EXPECT_THAT(svg, HasSubstr("<path d=\"M0,0 L1,1\"/>"));
  EXPECT_THAT(svg, Not(HasSubstr("Gnuplot")));
}

TEST(EmbedSvg, ColoursOfThePaletteAreVariables) {
  const std::string svg = embed(
      "<path stroke='rgb(  0, 114, 178)' fill = '#1b1f24' color=\"black\" d='M1'/>"
      "<path stroke=\"rgb(1,2,3)\"/><path stroke=\"rgb(1,2,3,4)\"/><path stroke=\"#12345g\"/>");
  EXPECT_THAT(svg,
              HasSubstr("stroke=\"var(--series-1)\" fill=\"var(--ink)\" color=\"var(--ink)\""));
  EXPECT_THAT(svg, HasSubstr("stroke=\"rgb(1,2,3)\""));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#12345g\""));
}

TEST(EmbedSvg, NamesAreTheFiguresOwn) {
  const std::string svg = embed(
      "<circle id='gpDot' r='0.5'/><use xlink:href='#gpDot' x=\"1\"/><use "
      "xlink:href='http://e.vil/'/>");
  EXPECT_THAT(svg, HasSubstr("id=\"f_gpDot\""));
  EXPECT_THAT(svg, HasSubstr("xlink:href=\"#f_gpDot\""));
  EXPECT_THAT(svg, Not(HasSubstr("http:")));
}

TEST(EmbedSvg, NothingInItActs) {
  const std::string svg = embed(
      "<script>alert(1)</script><g onclick='alert(2)' style='x' "
      "fill='red'><text>a<b>bold</b>c</text>"
      "<foreignObject><text>alert(3)</text></foreignObject></g><image href='x'/><a "
      "href='javascript:1'><text>4</text></a>");
  EXPECT_THAT(svg, Not(HasSubstr("script")));
  EXPECT_THAT(svg, Not(HasSubstr("alert")));
  EXPECT_THAT(svg, Not(HasSubstr("onclick")));
  EXPECT_THAT(svg, Not(HasSubstr("style")));
  EXPECT_THAT(svg, Not(HasSubstr("image")));
  EXPECT_THAT(svg, HasSubstr("<g fill=\"red\"><text>ac</text>"));
}

TEST(EmbedSvg, TextIsEscapedOnce) {
  const std::string svg = embed(
      "<text>a &lt; b &amp; c</text><text><![CDATA[<script> & ]]></text><text "
      "x='1'>rgb(0,114,178)</text>");
  EXPECT_THAT(svg, HasSubstr("<text>a &lt; b &amp; c</text>"));
  EXPECT_THAT(svg, HasSubstr("<text>&lt;script&gt; &amp; </text>"));
  EXPECT_THAT(svg, HasSubstr(">rgb(0,114,178)</text>"));
}

TEST(EmbedSvg, EmptyGroupsGo) {
  const std::string svg =
      embed("<g fill=\"none\">\n</g>\n<g a='>'><g b='1'>\n</g>\n</g><g><path d='M'/></g>");
  EXPECT_THAT(svg, HasSubstr("</desc>\n<g><path d=\"M\"/></g>"));
}

TEST(EmbedSvg, BrokenInputEnds) {
  EXPECT_THAT(message_of([] { embed_svg("", kFigure); }), HasSubstr("no SVG"));
  EXPECT_THAT(message_of([] { embed_svg("<svg>", kFigure); }), HasSubstr("no SVG"));
  for (const char* broken :
       {"<", "<path d='", "<path d=", "<![CDATA[", "<!--", "</", "</g></g>", "<g", "&"}) {
    EXPECT_NO_THROW(embed(broken)) << broken;
  }
}

TEST(LegendSvg, HasTheMarkOfItsSeries) {
  EXPECT_THAT(legend_svg({"x", 0, Mark::kPoint}), HasSubstr("<circle"));
  EXPECT_THAT(legend_svg({"x", 1, Mark::kPoint}), HasSubstr("<rect"));
  EXPECT_THAT(legend_svg({"x", 9, Mark::kBar}), HasSubstr("var(--series-2)"));
  EXPECT_THAT(legend_svg({"x", 0, Mark::kLine}), Not(HasSubstr("<circle")));
}

}  // namespace
}  // namespace onebit::report
