// Differential fuzzing of SentencePiece's BPE: any bytes with pieces that the input chooses,
// encoded and decoded by the SentencePiece library, through its wrapper and by the encoder of our
// own.
#include <array>
#include <bit>
#include <sentencepiece_processor.h>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "text/fuzz_input.h"
#include "text/sentencepiece_base.h"
#include "text/unicode.h"

namespace onebit::text {
namespace {

constexpr std::array<std::string_view, 8> kCharacters = {
    "a", "b", "c", kSpaceSymbol, "\xC3\xA9", "\xF0\x9F\x98\x82", "<", "1"};

std::string varint(std::uint64_t value) {
  std::string result;
  for (; value >= 0x80; value >>= 7) result += static_cast<char>(value | 0x80);
  return result + static_cast<char>(value);
}

std::string number_field(std::uint64_t number, std::uint64_t value) {
  return varint(number << 3) + varint(value);
}

std::string bytes_field(std::uint64_t number, std::string_view bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

/// A ModelProto's piece; see sentencepiece_library.cc for the field numbers.
std::string piece(std::string_view text, float score, TokenType type) {
  std::string score_field = varint(2 << 3 | 5);
  const auto bits = std::bit_cast<std::uint32_t>(score);
  for (int shift = 0; shift < 32; shift += 8) score_field += static_cast<char>(bits >> shift);
  return bytes_field(
      1, bytes_field(1, text) + score_field + number_field(3, static_cast<std::uint64_t>(type)));
}

/// A tokenizer.model: control pieces, perhaps bytes, the space, and up to 40 pieces of one to four
/// characters with a score each.
std::string choose_model(FuzzInput& input, bool bytes) {
  std::string model = piece("<unk>", 0, TokenType::kUnknown) +
                      piece("<s>", 0, TokenType::kControl) + piece("</s>", 0, TokenType::kControl);
  if (bytes) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (std::size_t byte = 0; byte < 256; ++byte) {
      model += piece(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", 0,
                     TokenType::kByte);
    }
  }
  // Without this piece, as no real model is, a space would become the symbol's bytes.
  model += piece(kSpaceSymbol, -20, TokenType::kNormal);
  std::unordered_set<std::string> seen = {std::string(kSpaceSymbol)};
  for (std::size_t pieces = 1 + input.below(40); pieces > 0; --pieces) {
    std::string text;
    for (std::size_t size = 1 + input.below(4); size > 0; --size) {
      text += kCharacters.at(input.below(kCharacters.size()));
    }
    const auto score = -static_cast<float>(input.below(16));
    constexpr std::array kTypes = {TokenType::kNormal, TokenType::kNormal, TokenType::kUnused,
                                   TokenType::kUserDefined};
    const TokenType type = kTypes.at(input.below(kTypes.size()));
    if (seen.insert(text).second) model += piece(text, score, type);
  }
  const bool prefix = input.flag();
  const std::string trainer = number_field(3, 2) + number_field(35, bytes ? 1 : 0);
  const std::string normalizer = bytes_field(1, "identity") + number_field(3, prefix ? 1 : 0) +
                                 number_field(4, 0) + number_field(5, 1);
  return model + bytes_field(2, trainer) + bytes_field(3, normalizer);
}

void fuzz(FuzzInput input) {
  const bool bytes = input.flag();
  const std::string model = choose_model(input, bytes);
  TokenizerData data = parse_sentencepiece(model);
  const std::unique_ptr<Tokenizer> wrapper = make_tokenizer(data);
  data.sentencepiece_model.clear();
  const std::unique_ptr<Tokenizer> own = make_tokenizer(data);
  sentencepiece::SentencePieceProcessor library;
  ONEBIT_CHECK(library.LoadFromSerializedProto(model).ok());
  const std::string_view text = input.rest();
  exercise(*wrapper, text);
  exercise(*own, text);

  std::vector<int> ids;
  ONEBIT_CHECK(library.Encode(text, &ids).ok());
  ONEBIT_CHECK(own->encode(text, {false, false}) == ids);
  ONEBIT_CHECK(wrapper->encode(text, {false, false}) == ids);
  ONEBIT_CHECK(own->encode(text, {true, true}) == wrapper->encode(text, {true, true}));
  std::string decoded;
  ONEBIT_CHECK(library.Decode(ids, &decoded).ok());
  ONEBIT_CHECK(own->decode(ids, /*skip_special=*/false) == decoded);
  ONEBIT_CHECK(wrapper->decode(ids, /*skip_special=*/false) == decoded);
  if (!bytes) return;
  ONEBIT_CHECK(decoded == replace_all(replace_invalid_utf8(text, kReplacement), kSpaceSymbol, " "));
}

}  // namespace
}  // namespace onebit::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  onebit::text::fuzz({data, size});
  return 0;
}
