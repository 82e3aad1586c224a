// A figure as data: a script for gnuplot and what a page says beside the picture. The program draws
// it (src/cli/gnuplot.h).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::report {

enum class Mark : unsigned char { kLine, kPoint, kBar };

struct LegendEntry {
  std::string name = {};
  std::size_t series = 0;  ///< its colour and point
  Mark mark = Mark::kLine;
};

struct Figure {
  std::string id = {};       ///< "bits_wiki": of the page's element
  std::string caption = {};  ///< a sentence without its stop
  std::string alt = {};      ///< what is to be seen, for those who do not see it
  std::string script = {};   ///< sets neither terminal nor output
  int width = 0;             ///< pixels at full size; the font has kFontSize of them
  int height = 0;
  std::vector<LegendEntry> legend = {};
};

/// Two fit beside each other on a page of 1280 pixels, and one on 400 is still legible.
inline constexpr int kFigureWidth = 580;
inline constexpr int kFontSize = 15;

/// What every script begins with: axes, grid and colours.
std::string figure_style();

/// "set xlabel 'TEXT' …" for axis "x" or "y", placed by gnuplot.
std::string axis_title(char axis, std::string_view text);

/// The field within the axes of a picture, where it must be known what lies where: gnuplot's own
/// margins depend on its fonts, and what does not fit into given ones it leaves out.
struct Frame {
  double left = 0;  ///< pixels from the picture's edges
  double right = 0;
  double top = 0;
  double bottom = 0;
  int width = kFigureWidth;
  int height = 0;

  double field_width() const { return width - left - right; }
  double field_height() const { return height - top - bottom; }

  /// "screen X,Y" of a pixel from the top left.
  std::string at(double x, double y) const;
  /// Margins, and the distance of the marks' numbers from the axes.
  std::string script() const;
  /// A title below the field, left of it, or at its right.
  std::string x_title(std::string_view text) const;
  std::string y_title(std::string_view text) const;
  std::string right_title(std::string_view text) const;
};

/// `text` with all but letters and digits replaced, for an element's name.
std::string element_id(std::string_view text);

}  // namespace onebit::report
