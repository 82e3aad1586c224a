// SentencePiece models: BPE over pieces from a vocabulary with scores (GGUF) or merges (HF), and
// the SentencePiece library's own encoder for a tokenizer.model.
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace onebit::text {

/// For data.model "llama". Errors as make_tokenizer.
std::unique_ptr<Tokenizer> make_sentencepiece_bpe(TokenizerData data);

/// For data with sentencepiece_model. Errors as make_tokenizer.
std::unique_ptr<Tokenizer> make_sentencepiece_library(TokenizerData data);

}  // namespace onebit::text
