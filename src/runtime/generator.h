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
  std::int64_t max_tokens = -1;   ///< -1: until the end token or the context is full
  bool ignore_end = false;        ///< go on after an end-of-sequence token
  std::vector<std::string> stop;  ///< texts that end the generation; not part of the result
};

enum class FinishReason : std::uint8_t { kEnd, kStopText, kLength, kInterrupted };

struct GenerateResult {
  std::vector<text::TokenId> tokens;  ///< generated, without the end token
  std::string text;
  FinishReason reason = FinishReason::kLength;
  std::int64_t prompt_tokens = 0;
  double prompt_seconds = 0;
  double generate_seconds = 0;
};

/// Whole UTF-8 characters as soon as they are complete; false stops the generation.
using OnText = std::function<bool(std::string_view)>;

/// Continues after what `cache` holds with `prompt`, which must not be empty. Throws as
/// Model::forward; Error{kResource} naming both lengths when the prompt does not fit the cache.
GenerateResult generate(Model& model, KvCache& cache, std::span<const text::TokenId> prompt,
                        Sampler& sampler, const GenerateOptions& options, const OnText& on_text,
                        std::stop_token stop);

}  // namespace onebit::runtime
