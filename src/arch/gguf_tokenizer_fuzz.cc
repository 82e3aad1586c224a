// Any bytes as a GGUF file whose metadata hold a tokenizer: it takes any text and can be written
// again, or there is an Error.
#include <cstddef>
#include <cstdint>

#include "arch/gguf_tokenizer.h"
#include "base/error.h"
#include "text/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  constexpr std::string_view kText = "<s>the  a\xCC\x81 \xE4\xBD\xA0\xF0\x9F\x98\x82 x\xFF\n\n 12";
  try {
    const auto file = file::GgufFile::parse({reinterpret_cast<const std::byte*>(data), size}, "f");
    const auto tokenizer = arch::tokenizer_from_gguf(file);
    if (!tokenizer) return 0;
    text::exercise(*text::make_tokenizer(*tokenizer), kText);
    ONEBIT_CHECK(!arch::tokenizer_to_gguf(*tokenizer).empty());
  } catch (const Error&) {
  }
  return 0;
}
