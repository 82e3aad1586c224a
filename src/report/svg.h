// gnuplot's pictures as parts of a page.
#pragma once

#include <string>
#include <string_view>

#include "report/figure.h"

namespace onebit::report {

/// The picture as an inline element: scaled by the page, with the figure's words as its title and
/// description, element names that no other figure has, and the palette's colours as variables of
/// the page's style. Elements and attributes that pictures have no need of are dropped, so that
/// nothing in it can act. Throws Error{kCorrupt} for what is no SVG.
std::string embed_svg(std::string_view svg, const Figure& figure);

/// A legend's sign, 24 pixels wide.
std::string legend_svg(const LegendEntry& entry);

}  // namespace onebit::report
