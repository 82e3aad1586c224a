// A model that no one has trained yet, on disk: where `onebit train` begins.
#pragma once

#include <cstdint>
#include <filesystem>

#include "arch/checkpoint.h"

namespace onebit::arch {

/// Writes a full-precision GGUF of `config` whose weights are drawn from `seed`: matrices,
/// embedding and head N(0, 0.02²) as GPT-2 and Llama begin, those that add to the residual stream
/// (attn_output, ffn_down) divided by √(2 layers), norms 1. All f32, and but for a machine's
/// logarithm and cosine the same everywhere. Tokenizer and chat template are those of `tokenizer`,
/// whose vocabulary `config` has. `config` is valid. Throws Error{kNotFound} where there is no
/// tokenizer, Error{kIo}.
void write_new_model(const std::filesystem::path& out, const ModelConfig& config,
                     const Checkpoint& tokenizer, const std::string& name, std::uint64_t seed);

}  // namespace onebit::arch
