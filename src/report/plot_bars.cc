// Lying bars in groups, with errors.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/axis.h"
#include "report/markup.h"
#include "report/palette.h"
#include "report/plots.h"

namespace onebit::report {
namespace {

constexpr double kBar = 15;     // pixels
constexpr double kGap = 14;     // between groups
constexpr double kBottom = 52;  // the axis and its title
constexpr double kTop = 10;
constexpr double kRight = 22;
constexpr std::size_t kLongestName = 22;  // characters of a group's name

}  // namespace

Figure bar_figure(const BarPlot& plot) {
  const auto groups = static_cast<double>(plot.groups.size());
  const auto series = static_cast<double>(plot.series.size());
  const double group_height = kBar * series + kGap;
  Figure figure;
  figure.width = kFigureWidth;
  figure.height = static_cast<int>(kTop + kBottom + groups * group_height);
  double most = 0;
  double widest = 0;
  std::string tics;
  for (std::size_t g = 0; g < plot.groups.size(); ++g) {
    const std::string name = shortened(clean_text(plot.groups[g]), kLongestName);
    widest = std::max(widest, text_width(name) * kFontSize);
    tics += fmt::format("{}{} {}", tics.empty() ? "" : ", ", gnuplot_quoted(name), g);
    for (const auto& bar : plot.bars[g]) {
      if (bar && std::isfinite(bar->value)) most = std::max(most, bar->value + bar->error);
    }
  }
  const Frame frame{.left = widest + 16,
                    .right = kRight,
                    .top = kTop,
                    .bottom = kBottom,
                    .height = figure.height};
  constexpr double kRoom = 1.05;
  const Axis x_axis{0, most > 0 ? most * kRoom : 1, false};

  std::string script = figure_style();
  script += frame.script() + axis_script("x", x_axis) + frame.x_title(plot.x_title);
  script += fmt::format(
      "set yrange [{}:-0.5]\nset ytics scale 0 ({})\nunset grid\n"
      "set grid xtics lt 1 lw 0.5 lc rgb '{}'\n",
      groups - 0.5, tics, kGrid.light);
  std::string curves;
  const double bar_share = kBar / group_height;
  for (std::size_t s = 0; s < plot.series.size(); ++s) {
    std::string bars;
    std::string errors;
    for (std::size_t g = 0; g < plot.groups.size(); ++g) {
      const auto& bar = plot.bars[g][s];
      if (!bar || !std::isfinite(bar->value)) continue;
      const double middle =
          static_cast<double>(g) + bar_share * (static_cast<double>(s) - (series - 1) / 2);
      const double half = bar_share * 0.44;
      bars += fmt::format("{} {} 0 {} {} {}\n", bar->value, middle, bar->value, middle - half,
                          middle + half);
      if (bar->error > 0) {
        errors += fmt::format("{} {} {}\n", bar->value, middle, bar->error);
      }
    }
    if (bars.empty()) continue;
    script += fmt::format("$bars{} << END\n{}END\n", s, bars);
    curves +=
        fmt::format("{}$bars{} using 1:2:3:4:5:6 with boxxyerror fs solid 1 noborder lc rgb '{}'",
                    curves.empty() ? "plot " : ", ", s, series_colour(plot.colours[s]).light);
    if (errors.empty()) continue;
    script += fmt::format("$errors{} << END\n{}END\n", s, errors);
    curves += fmt::format(", $errors{} using 1:2:3 with xerrorbars pt -1 lw 1.4 lc rgb '{}'", s,
                          kInk.light);
  }
  figure.script = script + curves + "\n";
  for (std::size_t s = 0; s < plot.series.size(); ++s) {
    figure.legend.push_back({plot.series[s], plot.colours[s], Mark::kBar});
  }
  return figure;
}

}  // namespace onebit::report
