// Text of others (names, paths, commands out of files) in documents of ours: each function makes
// any bytes harmless and legible in one kind of document.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace onebit::report {

/// `text` as valid UTF-8 on one line: white space is a space; other control characters, those that
/// turn the direction of writing, and bytes that are no UTF-8 are U+FFFD.
std::string clean_text(std::string_view text);

/// Cleaned, for HTML and SVG: between tags and in quoted attributes.
std::string html_text(std::string_view text);

/// Cleaned, with what Markdown or the HTML in it would read as markup escaped, for tables too.
std::string markdown_text(std::string_view text);

/// Cleaned, a field of RFC 4180. Text that a spreadsheet would take for a formula (it begins with
/// =, +, - or @) gets an apostrophe before it.
std::string csv_text(std::string_view text);

/// Cleaned, in gnuplot's single quotes, in which nothing is special but the quote itself; in double
/// quotes it would run what stands in backquotes.
std::string gnuplot_quoted(std::string_view text);

/// The first `characters` of valid UTF-8, the last of them an ellipsis where that is not all.
std::string shortened(std::string_view text, std::size_t characters);

/// About how wide valid UTF-8 is in a proportional font, in units of the font's size; rather too
/// wide than too narrow.
double text_width(std::string_view text);

}  // namespace onebit::report
