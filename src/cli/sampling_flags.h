// The flags of every command that draws tokens, named as llama.cpp names them.
#pragma once

#include "cli/flags.h"
#include "runtime/sampler.h"

namespace onebit::cli {

struct SamplingFlags {
  runtime::SamplerOptions options;
  std::int64_t seed = -1;

  /// The options with the seed drawn.
  runtime::SamplerOptions drawn() const {
    runtime::SamplerOptions result = options;
    result.seed = actual_seed(seed);
    return result;
  }
};

inline void define_sampling(CLI::App& app, SamplingFlags& flags) {
  runtime::SamplerOptions& o = flags.options;
  define_number(app, "--temp", o.temperature, "temperature; 0: always the likeliest token", 0.0F,
                100.0F);
  define_number(app, "--top-k", o.top_k, "draw among the k likeliest tokens; 0: all",
                std::int64_t{0}, kMaxCount);
  define_number(app, "--top-p", o.top_p, "draw among the likeliest tokens that sum to p; 1: all",
                1e-6F, 1.0F);
  define_number(app, "--min-p", o.min_p,
                "draw among tokens at least p times as likely as the likeliest; 0: all", 0.0F,
                1.0F);
  define_number(app, "--repeat-penalty", o.repeat_penalty,
                "divide the logits of recent tokens by this; 1: off", 0.01F, 100.0F);
  define_number(app, "--repeat-last-n", o.repeat_last_n, "how many tokens are recent; -1: all",
                std::int64_t{-1}, kMaxCount);
  define_seed(app, flags.seed);
}

}  // namespace onebit::cli
