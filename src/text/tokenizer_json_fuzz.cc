// Any text as a tokenizer.json, with a tokenizer_config.json after a zero byte: a tokenizer that
// takes any text, or an Error.
#include "base/error.h"
#include "text/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  try {
    const auto tokenizer = text::make_tokenizer(
        text::parse_tokenizer_json(input.substr(0, end), input.substr(std::min(end + 1, size))));
    text::exercise(*tokenizer,
                   "<s>the  a\xCC\x81 don't \xE4\xBD\xA0\xF0\x9F\x98\x82 x\xFF\n\n 1234");
    text::exercise(*tokenizer, input.substr(0, 200));
  } catch (const Error&) {
  }
  return 0;
}
