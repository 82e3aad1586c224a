#include "report/figure.h"

#include <fmt/format.h>

#include "report/markup.h"
#include "report/palette.h"

namespace onebit::report {

std::string figure_style() {
  return fmt::format(
      "set encoding utf8\nunset key\nset border 3 lc rgb '{0}'\n"
      "set tics nomirror out scale 0.5 textcolor rgb '{1}'\n"
      "set grid lt 1 lw 0.5 lc rgb '{2}'\nset bars 0.6\n",
      kInk.light, kMuted.light, kGrid.light);
}

std::string axis_title(char axis, std::string_view text) {
  return fmt::format("set {}label {} textcolor rgb '{}'\n", axis, gnuplot_quoted(text), kInk.light);
}

std::string Frame::at(double x, double y) const {
  return fmt::format("screen {:.5f},{:.5f}", x / width, 1 - y / height);
}

std::string Frame::script() const {
  return fmt::format(
      "set lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\n"
      "set bmargin at screen {:.5f}\nset tmargin at screen {:.5f}\n"
      "set xtics offset 0,0.4\nset ytics offset 0.5,0\n",
      left / width, 1 - right / width, bottom / height, 1 - top / height);
}

std::string Frame::x_title(std::string_view text) const {
  constexpr double kBelow = 14;  // of the picture's edge, its middle line
  return fmt::format("set label {} at {} center front textcolor rgb '{}'\n", gnuplot_quoted(text),
                     at(left + field_width() / 2, height - kBelow), kInk.light);
}

std::string Frame::y_title(std::string_view text) const {
  constexpr double kBeside = 14;
  return fmt::format("set label {} at {} center rotate by 90 front textcolor rgb '{}'\n",
                     gnuplot_quoted(text), at(kBeside, top + field_height() / 2), kInk.light);
}

std::string Frame::right_title(std::string_view text) const {
  constexpr double kBeside = 12;
  return fmt::format("set label {} at {} center rotate by 90 front textcolor rgb '{}'\n",
                     gnuplot_quoted(text), at(width - kBeside, top + field_height() / 2),
                     kInk.light);
}

std::string element_id(std::string_view text) {
  std::string id;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    id += plain ? c : '_';
  }
  return id;
}

}  // namespace onebit::report
