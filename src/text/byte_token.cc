// Bytes written as tokens.
#include "text/byte_token.h"

#include <charconv>

#include "text/unicode.h"

namespace onebit::text {
namespace {

constexpr std::uint32_t kAlphabetEnd = 0x100 + 68;

std::array<std::uint32_t, 256> make_code_points() {
  std::array<std::uint32_t, 256> result{};
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
                           (byte >= 0xAE && byte <= 0xFF);
    result[byte] = printable ? byte : next++;
  }
  return result;
}

/// By code point: the byte, or -1.
std::array<std::int16_t, kAlphabetEnd> make_bytes() {
  std::array<std::int16_t, kAlphabetEnd> result{};
  result.fill(-1);
  const auto code_points = make_code_points();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    result[code_points[byte]] = static_cast<std::int16_t>(byte);
  }
  return result;
}

std::array<std::string, 256> make_alphabet() {
  std::array<std::string, 256> result;
  const auto code_points = make_code_points();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::uint32_t code = code_points[byte];
    if (code < 0x80) {
      result[byte] = {static_cast<char>(code)};
    } else {
      result[byte] = {static_cast<char>(0xC0 | (code >> 6)),
                      static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  return result;
}

}  // namespace

std::optional<std::uint8_t> parse_byte_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  std::uint8_t byte = 0;
  const char* end = token.data() + 5;
  const auto [stop, error] = std::from_chars(token.data() + 3, end, byte, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return byte;
}

const std::array<std::string, 256>& byte_alphabet() {
  static const std::array<std::string, 256> alphabet = make_alphabet();
  return alphabet;
}

std::optional<std::string> from_byte_alphabet(std::string_view token) {
  static const std::array<std::int16_t, kAlphabetEnd> bytes = make_bytes();
  std::string result;
  for (std::size_t at = 0; at < token.size();) {
    const std::size_t size = utf8_char_size(token, at);
    if (size != 1 && size != 2) return std::nullopt;
    std::uint32_t code = static_cast<unsigned char>(token[at]);
    if (size == 2) code = (code & 0x1F) << 6 | (static_cast<unsigned char>(token[at + 1]) & 0x3F);
    if (code >= kAlphabetEnd || bytes[code] < 0) return std::nullopt;
    result += static_cast<char>(bytes[code]);
    at += size;
  }
  return result;
}

}  // namespace onebit::text
