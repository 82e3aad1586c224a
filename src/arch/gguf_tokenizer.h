// Between GGUF's tokenizer.ggml.* metadata and TokenizerData.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "file/gguf.h"
#include "text/tokenizer.h"

namespace onebit::arch {

/// GGUF's key of the chat template.
inline constexpr std::string_view kChatTemplateKey = "tokenizer.chat_template";

/// Nothing when the file has no tokenizer.ggml.model. Absent keys take llama.cpp's defaults of that
/// model. Throws Error{kCorrupt} for keys of a wrong type or ids that are none.
std::optional<text::TokenizerData> tokenizer_from_gguf(const file::GgufFile& gguf);

/// The inverse. Tokens are filled up to `vocab` with unused ones, as llama.cpp's converter does:
/// models are often made with a few more rows than their tokenizer has tokens.
std::vector<std::pair<std::string, file::GgufValue>> tokenizer_to_gguf(
    const text::TokenizerData& data, std::int64_t vocab);

}  // namespace onebit::arch
