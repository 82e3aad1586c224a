// Chooses the next token from logits, with the options and the order of llama.cpp's sampler chain:
// repeat penalty, top-k, top-p, min-p, temperature, then a draw. Temperature 0 is greedy.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

struct SamplerOptions {
  float temperature = 0.8F;
  std::int64_t top_k = 40;  ///< 0: all
  float top_p = 0.95F;      ///< 1: all
  float min_p = 0.05F;      ///< 0: all
  float repeat_penalty = 1.0F;
  std::int64_t repeat_last_n = 64;
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  /// Throws Error{kInvalidArgument} for a value outside its range.
  explicit Sampler(const SamplerOptions& options);

  /// `logits` is f32 [vocab]; `history` the tokens so far (for the repeat penalty). Ties go to the
  /// lower id. Error{kNumeric} when no logit is finite.
  text::TokenId sample(std::span<const float> logits, std::span<const text::TokenId> history);

 private:
  SamplerOptions options_;
  Rng rng_;
  std::vector<std::pair<float, text::TokenId>> candidates_;  ///< kept between calls: no allocation
};

}  // namespace onebit::runtime
