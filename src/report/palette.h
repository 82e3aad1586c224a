// The colours of figures: of a light page in pictures of their own, and variables of the page's
// style where a figure is part of it, so that a dark page can have others.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace onebit::report {

struct Colour {
  const char* light;     ///< "#0072b2", as pictures have it
  const char* dark;      ///< on a dark page
  const char* variable;  ///< "--series-1", of the page's style
};

/// Axes and words; what is beside them; lines behind the data.
inline constexpr Colour kInk = {"#1b1f24", "#e6e8eb", "--ink"};
inline constexpr Colour kMuted = {"#59616b", "#a2abb6", "--muted"};
inline constexpr Colour kGrid = {"#dde1e6", "#3a4048", "--grid"};

/// Okabe and Ito's, which the colour-blind tell apart, without the yellow that white swallows.
inline constexpr std::array<Colour, 8> kSeries = {{{"#0072b2", "#56a8e0", "--series-1"},
                                                   {"#d55e00", "#f2854a", "--series-2"},
                                                   {"#009e73", "#35c79b", "--series-3"},
                                                   {"#b0548c", "#e08fc0", "--series-4"},
                                                   {"#c28a00", "#ecb94a", "--series-5"},
                                                   {"#3fa2dc", "#9ad1f5", "--series-6"},
                                                   {"#7a5c2e", "#c9a66b", "--series-7"},
                                                   {"#6b7280", "#b6bcc6", "--series-8"}}};

/// gnuplot's point types that are filled, in the order of kMarks.
inline constexpr std::array<int, 5> kPointTypes = {7, 5, 9, 13, 11};

inline const Colour& series_colour(std::size_t series) { return kSeries[series % kSeries.size()]; }
inline int point_type(std::size_t series) { return kPointTypes[series % kPointTypes.size()]; }

}  // namespace onebit::report
