// Figures, drawn by the program gnuplot.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "report/markup.h"

namespace onebit::cli {

using report::gnuplot_quoted;  // for scripts

/// A picture's file format, from its name: "svg" or "pngcairo", gnuplot's names. Throws
/// Error{kInvalidArgument} for another ending than .svg and .png.
std::string_view picture_terminal(const std::filesystem::path& out);

/// Throws Error{kNotFound} where gnuplot is not installed: before work whose figure it is to draw.
void require_gnuplot();

/// Draws `script`, which sets neither terminal nor output, to `out`, whole or not at all. Throws
/// Error{kNotFound} where gnuplot is not installed, Error{kIo}.
void draw(const std::string& script, int width, int height, const std::filesystem::path& out);

/// The same as the text of an SVG picture without a background; `font_size` in pixels.
std::string draw_svg(const std::string& script, int width, int height, int font_size);

}  // namespace onebit::cli
