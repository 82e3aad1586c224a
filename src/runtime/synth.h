// A teacher writes the text that its student learns from: the data-free recipe of LLM-QAT
// (arXiv 2305.17888, section 3.1) that OneBit follows. A token is drawn from the vocabulary, the
// next few are the teacher's likeliest, all others are sampled.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "runtime/model.h"
#include "runtime/sampler.h"

namespace onebit::runtime {

struct SynthOptions {
  std::int64_t samples = 1000;
  std::int64_t first = 0;         ///< number of the first that is generated: earlier ones are known
  std::int64_t length = 512;      ///< tokens of a sample at most, BOS and end token included
  std::int64_t greedy_least = 3;  ///< how many tokens after the first are the likeliest ones:
  std::int64_t greedy_most = 5;   ///< drawn evenly from these two and what lies between
  std::int64_t batch = 0;         ///< sequences under way together; 0: default_batch()
  SamplerOptions sampling = {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F};
};

struct SynthSample {
  /// BOS where the tokenizer adds one, the drawn token, its continuation, and the end token if the
  /// model came to one before `length`.
  std::vector<text::TokenId> tokens;
  std::string text;  ///< valid UTF-8, control tokens left out
};

/// Receives the samples in the order of their numbers.
using OnSample = std::function<void(const SynthSample&)>;

struct SynthTotals {
  std::int64_t samples = 0;
  std::int64_t tokens = 0;     ///< of these samples
  std::int64_t generated = 0;  ///< of these, chosen by the model
};

/// 96 sequences, or as many as 2 GiB of keys and values allow, at least one.
std::int64_t default_batch(const arch::ModelConfig& config, std::int64_t length, KvType type);

/// Generates the samples options.first … options.samples - 1; a sequence that ends makes room for
/// the next, so that every matrix is read once for a full batch. A sample depends on the seed and
/// its number alone (and on the instruction set, as logits do), not on threads or batch. Throws
/// Error{kInvalidArgument} for an option outside its range or a length beyond the model's context,
/// Error{kInterrupted}, and as Model::forward_batch and Sampler.
SynthTotals synthesize(Model& model, const SynthOptions& options, const OnSample& on_sample,
                       Progress& progress, const std::stop_token& stop);

}  // namespace onebit::runtime
