// A field of coloured cells.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/axis.h"
#include "report/markup.h"
#include "report/palette.h"
#include "report/plots.h"

namespace onebit::report {

Figure heat_map_figure(const HeatMap& map) {
  constexpr double kLargestCell = 18;  // pixels downwards
  constexpr double kLargestMap = 900;
  constexpr double kTop = 14;
  constexpr double kBottom = 84;  // slanted names of the columns
  const auto layers = static_cast<double>(map.rows.size());
  const double cell = std::min(kLargestCell, kLargestMap / layers);
  Figure figure;
  figure.width = kFigureWidth;
  figure.height = static_cast<int>(kTop + kBottom + std::max(layers * cell, 120.0));

  std::string columns;
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    columns += fmt::format("{}{} {}", c == 0 ? "" : ", ",
                           gnuplot_quoted(shortened(clean_text(map.columns[c]), 14)), c);
  }
  // As many layers are named as have room.
  const auto every = static_cast<std::size_t>(std::ceil(kFontSize * 1.2 / cell));
  std::string layers_named;
  std::string data;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    if (r % every == 0) layers_named += fmt::format("{}'{}' {}", r == 0 ? "" : ", ", r, r);
    for (std::size_t c = 0; c < map.rows[r].size(); ++c) {
      const auto& value = map.rows[r][c];
      if (!value || !std::isfinite(*value)) continue;
      data += fmt::format("{} {} {}\n", c, r, std::clamp(*value, map.low, map.high));
    }
  }
  const Axis colours{map.low, map.high, map.log};
  const Frame frame{
      .left = 66, .right = 122, .top = kTop, .bottom = kBottom, .height = figure.height};
  figure.script =
      figure_style() + frame.script() +
      fmt::format(
          "unset grid\nset border 0\nset xrange [-0.5:{}]\nset yrange [{}:-0.5]\n"
          "set xtics scale 0 rotate by 35 right offset 0,-0.2 ({})\nset ytics scale 0 ({})\n",
          static_cast<double>(map.columns.size()) - 0.5, layers - 0.5, columns, layers_named);
  // Viridis: as light as it is large, also in grey and for the colour-blind.
  figure.script +=
      "set palette defined (0 '#440154', 1 '#443983', 2 '#31688e', 3 '#21918c', 4 '#35b779', "
      "5 '#90d743', 6 '#fde725') maxcolors 64\n";
  figure.script +=
      axis_script("cb", colours) + frame.y_title("layer") + frame.right_title(map.value_title);
  figure.script += fmt::format(
      "$map << END\n{}END\nplot $map using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5):3 with "
      "boxxyerror "
      "fs solid 1 noborder lc palette\n",
      data);
  return figure;
}

}  // namespace onebit::report
