// Chooses a tokenizer's implementation.
#include "text/tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "text/byte_bpe.h"
#include "text/quote.h"
#include "text/sentencepiece.h"

namespace onebit::text {

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerData data) {
  if (data.model == "gpt2") return make_byte_bpe(std::move(data));
  if (!data.sentencepiece_model.empty()) return make_sentencepiece_library(std::move(data));
  if (data.model == "llama") return make_sentencepiece_bpe(std::move(data));
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("tokenizer model: found {}, expected gpt2 or llama", in_quotes(data.model)));
}

}  // namespace onebit::text
