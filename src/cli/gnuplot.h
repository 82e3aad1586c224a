// Figures, drawn by the program gnuplot.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace onebit::cli {

/// A picture's file format, from its name: "svg" or "pngcairo", gnuplot's names. Throws
/// Error{kInvalidArgument} for another ending than .svg and .png.
std::string_view picture_terminal(const std::filesystem::path& out);

/// Throws Error{kNotFound} where gnuplot is not installed: before work whose figure it is to draw.
void require_gnuplot();

/// Text in gnuplot's single quotes, in which nothing is special but the quote itself; in double
/// quotes it would run what stands in backquotes.
std::string gnuplot_quoted(std::string_view text);

/// Draws `script`, which sets neither terminal nor output, to `out`, whole or not at all. Throws
/// Error{kNotFound} where gnuplot is not installed, Error{kIo}.
void draw(const std::string& script, int width, int height, const std::filesystem::path& out);

}  // namespace onebit::cli
