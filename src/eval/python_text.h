// Methods of Python's strings, with Python's meaning: lm-eval's tasks make their prompts with them,
// and a prompt that differs in one space is another task. All texts are well-formed UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace onebit::eval {

/// text.strip() and text.rstrip(): without the white space (Unicode's, as str.isspace()) at both
/// ends, at the end.
std::string_view strip(std::string_view text);
std::string_view rstrip(std::string_view text);

/// text.replace(from, to): from left to right, matches do not overlap. `from` is not empty.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// text.capitalize(): the first character in title case, the others in lower case; a character for
/// a character, so that only those few differ whose other case has several ("ß", "İ") and a final
/// "Σ".
std::string capitalize(std::string_view text);

/// len(text): code points.
std::int64_t characters(std::string_view text);

}  // namespace onebit::eval
