// Any bytes as a SentencePiece tokenizer.model: a tokenizer, through the library and of its pieces,
// or an Error.
#include "base/error.h"
#include "text/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  constexpr std::string_view kText = "<s> ab, a\xCC\x81 \xE4\xBD\xA0\xF0\x9F\x98\x82 x\xFF\n\n 12";
  try {
    text::TokenizerData model =
        text::parse_sentencepiece({reinterpret_cast<const char*>(data), size});
    text::exercise(*text::make_tokenizer(model), kText);
    model.sentencepiece_model.clear();
    if (model.model == "llama") text::exercise(*text::make_tokenizer(model), kText);
  } catch (const Error&) {
  }
  return 0;
}
