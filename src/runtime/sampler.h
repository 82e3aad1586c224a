// Chooses the next token from logits, with the options and the order of llama.cpp's sampler chain:
// repeat penalty, top-k, top-p, min-p, temperature, then a draw. Temperature 0 is greedy.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

struct SamplerOptions {
  float temperature = 0.8F;         ///< >= 0; 0: the likeliest token
  std::int64_t top_k = 40;          ///< >= 0; 0: all
  float top_p = 0.95F;              ///< in (0, 1]; 1: all
  float min_p = 0.05F;              ///< in [0, 1]; 0: all
  float repeat_penalty = 1.0F;      ///< > 0; 1: none
  std::int64_t repeat_last_n = 64;  ///< tokens of the history that are penalised; 0: none, -1: all
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  /// Throws Error{kInvalidArgument} for a value outside its range. `kernels` compute the softmax.
  Sampler(const SamplerOptions& options, const kernels::KernelSet& kernels);

  /// Begins the sequence of draws that options.seed = `seed` gives.
  void reseed(std::uint64_t seed) { rng_ = Rng(seed); }

  /// `logits` is f32 [vocab]; `history` the tokens so far (for the repeat penalty; ids without a
  /// logit are ignored). Tokens with a logit that is not finite are never chosen. Ties go to the
  /// lower id. Error{kNumeric} when no logit is finite. Allocates only for a larger vocabulary or
  /// history than before.
  ///
  /// Penalty p, once for every distinct token of the last repeat_last_n: logit / p if it is
  /// positive, logit · p otherwise. Top-k keeps the k highest; top-p the fewest of the highest
  /// whose probabilities (at temperature 1) sum to at least top_p; min-p those of at least min_p
  /// times the highest probability. The draw is from softmax(logit / temperature).
  text::TokenId sample(std::span<const float> logits, std::span<const text::TokenId> history);

  /// The id of the highest finite logit, the lowest on a tie, whatever the options. Error{kNumeric}
  /// when none is finite.
  text::TokenId likeliest(std::span<const float> logits);

 private:
  using Candidate = std::pair<float, text::TokenId>;

  float keep_finite(std::span<const float> logits);
  text::TokenId first_of(float logit) const;
  bool draws_among_all() const noexcept;
  void penalise(std::span<const text::TokenId> history);
  template <class Float>
  void take_above(Float least);
  void take_best(std::size_t count);
  bool keep_top_p(double total = 0);
  void take_top_p(float top);
  double least_for_min_p(float top) const;
  void keep_min_p();
  text::TokenId draw_candidate(float top);
  std::size_t draw();

  SamplerOptions options_;
  const kernels::KernelSet* kernels_;
  Rng rng_;
  std::vector<float> logits_;  ///< the finite ones, penalised; -inf elsewhere
  std::vector<float> maxima_;  ///< of blocks of logits_
  std::vector<Candidate> candidates_;
  std::vector<text::TokenId> penalised_;
  std::vector<double> weights_;
  std::vector<float> scores_;  ///< (logit - highest) / temperature of what is drawn from
};

}  // namespace onebit::runtime
