// The kinds of figures, each from plain data to a script for gnuplot; one file a kind. What they
// show of a comparison is chosen in figures.cc.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/figure.h"

namespace onebit::report {

/// Named points, each with its name beside it.
struct ScatterPlot {
  struct Point {
    double x = 0;
    double y = 0;
    double y_error = 0;  ///< to both sides
    std::string name = {};
    std::size_t series = 0;
  };
  std::string x_title = {};
  std::string y_title = {};
  std::vector<Point> points = {};
};
/// Axes are logarithmic where values are spread over more than a factor of 8 (y) or 5 (x).
Figure scatter_figure(const ScatterPlot& plot);

using Points = std::vector<std::pair<double, double>>;

/// Curves over a common axis.
struct LinePlot {
  struct Line {
    std::string name = {};
    Points points = {};
    std::size_t series = 0;
  };
  std::string id = {};  ///< tells its data from other plots' of one script
  std::string title = {};
  std::string x_title = {};
  std::string y_title = {};
  std::vector<Line> lines = {};
  bool marks = false;  ///< points on the lines
  bool log = false;    ///< values; those that are not above 0 are left out
  bool key = false;    ///< names within the picture, and the title
};
/// Data, which stands before a multiplot, and commands; both empty where no line has a point.
struct LineScript {
  std::string data = {};
  std::string commands = {};
};
LineScript line_script(const LinePlot& plot);
Figure line_figure(const LinePlot& plot);

/// Bars side by side in groups, lying, so that names have room and many groups make it longer, not
/// denser.
struct BarPlot {
  struct Bar {
    double value = 0;
    double error = 0;  ///< to both sides
  };
  std::string x_title = {};
  std::vector<std::string> groups = {};  ///< from the top
  std::vector<std::string> series = {};
  std::vector<std::vector<std::optional<Bar>>> bars = {};  ///< [group][series]
  std::vector<std::size_t> colours = {};                   ///< of the series
};
Figure bar_figure(const BarPlot& plot);

/// A field of values: kinds of matrices across, layers downwards.
struct HeatMap {
  std::string value_title = {};
  std::vector<std::string> columns = {};
  std::vector<std::vector<std::optional<double>>> rows = {};  ///< [layer][column]
  double low = 0;  ///< of the colours, which several maps may share
  double high = 1;
  bool log = false;  ///< colours by the logarithm; low is above 0
};
Figure heat_map_figure(const HeatMap& map);

}  // namespace onebit::report
