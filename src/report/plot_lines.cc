// Curves, as figures of a page and as panels of a picture of their own (`onebit curves`).
#include <cmath>
#include <fmt/format.h>

#include "report/axis.h"
#include "report/markup.h"
#include "report/palette.h"
#include "report/plots.h"

namespace onebit::report {

LineScript line_script(const LinePlot& plot) {
  LineScript script;
  std::string curves;
  std::vector<double> values;
  for (std::size_t i = 0; i < plot.lines.size(); ++i) {
    const LinePlot::Line& line = plot.lines[i];
    const std::string name = fmt::format("${}_{}", plot.id, i);
    std::string data;
    for (const auto& [x, y] : line.points) {
      if (!std::isfinite(x) || !std::isfinite(y) || (plot.log && y <= 0)) continue;
      data += fmt::format("{} {}\n", x, y);
      values.push_back(y);
    }
    if (data.empty()) continue;
    script.data += fmt::format("{} << END\n{}END\n", name, data);
    // Colours come again after some lines; dashes tell those apart.
    const std::size_t dash = 1 + line.series / kSeries.size() % 5;
    curves += fmt::format(
        "{}{} using 1:2 with {} lw 2 dt {} lc rgb '{}' {}", curves.empty() ? "plot " : ", ", name,
        plot.marks ? fmt::format("linespoints pt {} ps 0.7", point_type(line.series)) : "lines",
        dash, series_colour(line.series).light,
        plot.key ? "title " + gnuplot_quoted(line.name) : "notitle");
  }
  if (curves.empty()) return {};
  if (plot.key) {
    script.commands +=
        fmt::format("set key right top textcolor rgb '{}'\nset title {} textcolor rgb '{}'\n",
                    kInk.light, gnuplot_quoted(plot.title), kInk.light);
  }
  script.commands += axis_title('x', plot.x_title) + axis_title('y', plot.y_title);
  script.commands += plot.log ? axis_script("y", axis_around(values, true)) : "";
  script.commands += curves + "\n";
  return script;
}

Figure line_figure(const LinePlot& plot) {
  constexpr int kHeight = 360;
  Figure figure;
  figure.width = kFigureWidth;
  figure.height = kHeight;
  const LineScript script = line_script(plot);
  figure.script = figure_style() + "set offsets graph 0, graph 0, graph 0.05, graph 0.03\n" +
                  script.data + script.commands;
  for (const LinePlot::Line& line : plot.lines) {
    figure.legend.push_back({line.name, line.series, plot.marks ? Mark::kPoint : Mark::kLine});
  }
  return figure;
}

}  // namespace onebit::report
