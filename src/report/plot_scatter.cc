// Points with their names: placed here, because gnuplot would write names over each other.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/axis.h"
#include "report/label_placement.h"
#include "report/markup.h"
#include "report/palette.h"
#include "report/plots.h"

namespace onebit::report {
namespace {

constexpr double kPointRadius = 8;        // pixels
constexpr double kNameSize = 13;          // pixels
constexpr std::size_t kLongestName = 34;  // characters; tables have the whole
constexpr Frame kFrame{.left = 94, .right = 16, .top = 12, .bottom = 52, .height = 400};

/// "set label …" of a point's name: its end that is nearer to the point is where it should be, also
/// where the name turns out wider or narrower than it was taken to be.
std::string name_script(const std::string& name, const Box& box, double point_x) {
  const double middle = (box.top + box.bottom) / 2;
  const bool before = (box.left + box.right) / 2 < point_x - 1;
  const bool beside = box.right <= point_x || box.left >= point_x;
  const char* align = !beside ? "center" : before ? "right" : "left";
  const double x = !beside ? (box.left + box.right) / 2 : before ? box.right : box.left;
  return fmt::format("set label {} at {} {} front font ',{}' textcolor rgb '{}'\n",
                     gnuplot_quoted(name), kFrame.at(x, middle), align, kNameSize, kInk.light);
}

}  // namespace

Figure scatter_figure(const ScatterPlot& plot) {
  Figure figure;
  figure.width = kFrame.width;
  figure.height = kFrame.height;
  std::vector<double> xs;
  std::vector<double> ys;
  for (const ScatterPlot::Point& p : plot.points) {
    xs.push_back(p.x);
    ys.push_back(p.y);
  }
  constexpr double kLogX = 5;
  constexpr double kLogY = 8;
  const Axis x_axis = axis_around(xs, spread_out(xs, kLogX));
  const Axis y_axis = axis_around(ys, spread_out(ys, kLogY));
  std::vector<PointLabel> labels;
  for (const ScatterPlot::Point& p : plot.points) {
    labels.push_back({kFrame.left + kFrame.field_width() * x_axis.share(p.x),
                      kFrame.top + kFrame.field_height() * (1 - y_axis.share(p.y)),
                      kNameSize * text_width(shortened(clean_text(p.name), kLongestName))});
  }
  const Box area{kFrame.left + 2, kFrame.top, kFrame.width - 2.0,
                 kFrame.top + kFrame.field_height() - 2};
  const std::vector<PlacedLabel> placed =
      place_labels(labels, kNameSize * 1.25, kPointRadius, area);

  std::string script = figure_style() + kFrame.script();
  script += axis_script("x", x_axis) + axis_script("y", y_axis);
  script += kFrame.x_title(plot.x_title) + kFrame.y_title(plot.y_title);
  std::string curves;
  for (std::size_t i = 0; i < plot.points.size(); ++i) {
    const ScatterPlot::Point& p = plot.points[i];
    const PlacedLabel& name = placed[i];
    script += name_script(shortened(clean_text(p.name), kLongestName), name.box, labels[i].x);
    if (name.leader) {
      script += fmt::format("set arrow from {} to {} nohead lw 0.8 lc rgb '{}'\n",
                            kFrame.at(labels[i].x, labels[i].y),
                            kFrame.at(std::clamp(labels[i].x, name.box.left, name.box.right),
                                      (name.box.top + name.box.bottom) / 2),
                            kMuted.light);
    }
    script += fmt::format("$p{} << END\n{} {} {}\nEND\n", i, p.x, p.y, p.y_error);
    const char* colour = series_colour(p.series).light;
    if (p.y_error > 0) {
      curves += fmt::format("{}$p{} using 1:2:3 with yerrorbars pt -1 lw 1.5 lc rgb '{}'",
                            curves.empty() ? "plot " : ", ", i, colour);
    }
    curves += fmt::format("{}$p{} using 1:2 with points pt {} ps 1.3 lc rgb '{}'",
                          curves.empty() ? "plot " : ", ", i, point_type(p.series), colour);
  }
  figure.script = script + curves + "\n";
  return figure;
}

}  // namespace onebit::report
