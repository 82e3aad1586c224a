// Token by token: prompt, then sampled continuation, streamed as text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/model.h"
#include "runtime/sampler.h"

namespace onebit::runtime {

struct GenerateOptions {
  std::int64_t max_tokens = -1;        ///< -1: until the end token or the context is full
  bool ignore_end = false;             ///< go on after an end-of-sequence token
  std::vector<std::string> stop;       ///< texts that end the generation; not part of the result
  std::vector<text::TokenId> history;  ///< tokens before the prompt that the repeat penalty counts
};

enum class FinishReason : std::uint8_t {
  kEnd,          ///< an end-of-sequence token
  kStopText,     ///< one of GenerateOptions::stop
  kLength,       ///< max_tokens
  kContext,      ///< the cache is full
  kInterrupted,  ///< the stop token, or OnText returned false
};

struct GenerateResult {
  std::vector<text::TokenId> tokens;  ///< generated, without the end token
  std::string text;                   ///< valid UTF-8, control tokens left out
  FinishReason reason = FinishReason::kLength;
  std::int64_t prompt_tokens = 0;
  double prompt_seconds = 0;
  double generate_seconds = 0;
};

/// Whole UTF-8 characters as soon as they are complete; false stops the generation. Bytes that are
/// no UTF-8 come as U+FFFD. Text that may be the beginning of a stop text comes when it is known
/// not to be. May be empty.
using OnText = std::function<bool(std::string_view)>;

/// Continues after what `cache` holds with `prompt`, which must not be empty. The cache then holds
/// the prompt and result.tokens, or all of them but the last, which was never evaluated (and a
/// part of the prompt only when interrupted in it). Throws as Model::forward and Sampler::sample;
/// Error{kResource} naming both lengths when the prompt does not fit the cache,
/// Error{kInvalidArgument} for an empty stop text.
GenerateResult generate(Model& model, KvCache& cache, std::span<const text::TokenId> prompt,
                        Sampler& sampler, const GenerateOptions& options, const OnText& on_text,
                        const std::stop_token& stop);

}  // namespace onebit::runtime
