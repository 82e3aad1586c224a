// The two ways in which vocabularies write single bytes: "<0x0A>", and GPT-2's alphabet.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace onebit::text {

/// SentencePiece's byte token "<0x0A>": its byte, or nothing for other text.
std::optional<std::uint8_t> parse_byte_token(std::string_view token);

/// GPT-2's alphabet: the character that stands for a byte, as UTF-8. Printable Latin-1 bytes stand
/// for themselves, the 68 others for U+0100 and up, in order.
const std::array<std::string, 256>& byte_alphabet();

/// The bytes that a token in GPT-2's alphabet stands for, or nothing when some character is not of
/// the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view token);

}  // namespace onebit::text
