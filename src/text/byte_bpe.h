// Byte-level BPE; see tokenizer.h for what TokenizerData means to it.
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace onebit::text {

/// For data.model "gpt2". Errors as make_tokenizer.
std::unique_ptr<Tokenizer> make_byte_bpe(TokenizerData data);

}  // namespace onebit::text
