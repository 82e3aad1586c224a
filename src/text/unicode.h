// The little Unicode that tokenizers need: well-formed UTF-8, and NFC.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace onebit::text {

/// U+FFFD, which stands for a byte that is not part of a character.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Bytes of the well-formed UTF-8 character that begins at text[at] (Unicode 14, table 3-7), or 0
/// where none begins there. `at` must be inside text.
std::size_t utf8_char_size(std::string_view text, std::size_t at) noexcept;

/// The text with every byte that is not part of a well-formed character replaced.
std::string replace_invalid_utf8(std::string_view text, std::string_view replacement);

/// True when every byte is part of a well-formed character.
bool is_utf8(std::string_view text) noexcept;

/// Normalization Form C. Bytes that are not part of a character stay where they are.
std::string nfc(std::string_view text);

}  // namespace onebit::text
