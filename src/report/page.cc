// The report's HTML page: one column on a telephone, figures in pairs on a desk, light or dark as
// the reader's system is, plain on paper.
#include <fmt/format.h>

#include "report/markup.h"
#include "report/palette.h"
#include "report/report.h"
#include "report/svg.h"

namespace onebit::report {
namespace {

constexpr const char* kStyle = R"(
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;padding:1.25rem 1rem 3rem;max-width:78rem;background:var(--page);color:var(--ink);
 font:16px/1.5 system-ui,sans-serif;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;padding-bottom:.2rem;border-bottom:1px solid var(--grid)}
.lead,.remark,caption,figcaption,.error,.notes{color:var(--muted)}
.lead{margin:.2rem 0 1rem}
.warnings{margin:1rem 0;padding:.6rem 1rem;border-left:4px solid var(--series-2);background:var(--card)}
.warnings ul{margin:.2rem 0;padding-left:1.2rem}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:0;padding:0;list-style:none}
a{color:var(--series-1)}
.scroll{overflow-x:auto;margin:.8rem 0 .4rem;border:1px solid var(--grid);border-radius:6px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{caption-side:top;text-align:left;padding:.55rem .7rem;font-size:.9rem}
caption span{display:inline-block;position:sticky;left:.7rem;max-width:calc(min(100vw,78rem) - 4rem)}
th,td{padding:.35rem .7rem;text-align:right;vertical-align:top;white-space:nowrap;border-top:1px solid var(--grid)}
thead th{vertical-align:bottom;font-weight:600;white-space:normal}
thead th[scope=colgroup]{text-align:center;border-left:1px solid var(--grid)}
th[scope=row]{position:sticky;left:0;max-width:16rem;background:var(--card);text-align:left;font-weight:600;
 white-space:normal;overflow-wrap:anywhere;min-width:7rem}
.words{text-align:left}
td.words{white-space:normal;min-width:7.5rem;max-width:26rem;overflow-wrap:anywhere}
thead .short{white-space:nowrap}
thead .long{display:inline-block;min-width:6rem}
.better{color:var(--series-1);font-weight:400}
.error{font-size:.8rem}
.wide .error{display:block}
.wide th,.wide td{padding-left:.45rem;padding-right:.45rem}
strong{font-weight:700}
code{font:.8rem/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
td.words code{display:block;min-width:14rem}
sup{line-height:0;margin-left:.1rem}
.notes{font-size:.85rem;margin:.3rem 0;padding-left:1.6rem;list-style:lower-alpha}
.remark{font-size:.85rem;margin:.3rem 0 1rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem;margin:.8rem 0;
 align-items:start}
figure{margin:0;padding:.7rem .7rem .5rem;border:1px solid var(--grid);border-radius:6px;background:var(--card);
 min-width:0;break-inside:avoid}
figure>svg{display:block;width:100%;height:auto;max-width:44rem;margin:0 auto}
figure>svg text{font-family:system-ui,sans-serif}
figcaption{font-size:.9rem;margin-bottom:.3rem}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1rem;margin:.2rem 0 .1rem;padding:0;list-style:none;font-size:.85rem}
.legend li{display:flex;align-items:center;gap:.4rem;min-width:0;overflow-wrap:anywhere}
.legend svg{flex:none}
summary{cursor:pointer;padding:.3rem 0}
@media (max-width:40rem){body{padding:.8rem .6rem 2rem;font-size:15px}th,td{padding:.3rem .5rem}figure{padding:.4rem}
 th[scope=row]{max-width:9rem;min-width:7.5rem}}
@media print{body{max-width:none;padding:0;font-size:10pt}.scroll{overflow:visible;border:0}nav{display:none}
 h2{break-after:avoid}table{font-size:7.5pt}th,td{padding:.15rem .3rem}tr{break-inside:avoid}
 th[scope=row]{position:static}details::details-content{content-visibility:visible;block-size:auto}.figures{grid-template-columns:1fr 1fr}}
)";

/// The palette as variables; on paper always the light one.
std::string colour_variables() {
  std::string light = "--page:#f6f7f9;--card:#ffffff;";
  std::string dark = "--page:#14171b;--card:#1c2026;";
  const auto add = [&](const Colour& colour) {
    light += fmt::format("{}:{};", colour.variable, colour.light);
    dark += fmt::format("{}:{};", colour.variable, colour.dark);
  };
  for (const Colour* colour : {&kInk, &kMuted, &kGrid}) add(*colour);
  for (const Colour& colour : kSeries) add(colour);
  return fmt::format(
      ":root{{color-scheme:light dark;{}}}\n"
      "@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
      light, dark);
}

std::string figure_html(const Figure& figure, const Draw& draw) {
  std::string html = fmt::format("<figure id=\"{}\">\n<figcaption>{}.</figcaption>\n{}", figure.id,
                                 html_text(figure.caption), embed_svg(draw(figure), figure));
  if (!figure.legend.empty()) {
    html += "<ul class=\"legend\">\n";
    for (const LegendEntry& entry : figure.legend) {
      html += fmt::format("<li>{}<span>{}</span></li>\n", legend_svg(entry), html_text(entry.name));
    }
    html += "</ul>\n";
  }
  return html + "</figure>\n";
}

}  // namespace

std::string report_html(const Report& report, const Draw& draw) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"generator\" content=\"{0}\">\n<title>{1}</title>\n<style>\n{2}{3}</style>\n"
      "</head>\n<body>\n<header>\n<h1>{1}</h1>\n<p class=\"lead\">Written by {0}.</p>\n",
      html_text(report.program), html_text(report.title), colour_variables(), kStyle);
  html += "<nav aria-label=\"Sections\">\n<ul>\n";
  for (std::size_t i = 0; i < report.sections.size(); ++i) {
    html += fmt::format("<li><a href=\"#section-{}\">{}</a></li>\n", i + 1,
                        html_text(report.sections[i].title));
  }
  html += "</ul>\n</nav>\n</header>\n<main>\n";
  if (!report.warnings.empty()) {
    html += "<div class=\"warnings\" role=\"note\">\n<strong>Before you compare</strong>\n<ul>\n";
    for (const std::string& warning : report.warnings) {
      html += fmt::format("<li>{}.</li>\n", html_text(warning));
    }
    html += "</ul>\n</div>\n";
  }
  for (std::size_t i = 0; i < report.sections.size(); ++i) {
    const Section& section = report.sections[i];
    html +=
        fmt::format("<section aria-labelledby=\"section-{0}\">\n<h2 id=\"section-{0}\">{1}</h2>\n",
                    i + 1, html_text(section.title));
    if (!section.figures.empty()) {
      html += "<div class=\"figures\">\n";
      for (const Figure& figure : section.figures) html += figure_html(figure, draw);
      html += "</div>\n";
    }
    for (const Table& table : section.tables) html += table_html(table);
    html += "</section>\n";
  }
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace onebit::report
