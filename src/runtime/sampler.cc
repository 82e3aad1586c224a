#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace onebit::runtime {
namespace {

using text::TokenId;

constexpr float kNever = -std::numeric_limits<float>::infinity();
/// Logits whose maximum is looked for together.
constexpr std::size_t kBlock = 64;

/// Best first: higher logit, then lower id.
bool better(const std::pair<float, TokenId>& a, const std::pair<float, TokenId>& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

void require(bool holds, std::string_view option, double found, std::string_view expected) {
  if (holds) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: found {:g}, expected {}", option, found, expected));
}

[[noreturn]] void throw_no_finite_logit(std::size_t vocab) {
  throw Error(ErrorCode::kNumeric,
              fmt::format("logits: found no finite value among {}, expected at least one", vocab));
}

/// Σ w in double: eight sums side by side, since one alone waits for itself at every step.
double sum(std::span<const float> w) {
  constexpr std::size_t kSums = 8;
  double sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= w.size(); i += kSums) {
    for (std::size_t j = 0; j < kSums; ++j) sums[j] += w[i + j];
  }
  for (; i < w.size(); ++i) sums[0] += w[i];
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options, const kernels::KernelSet& kernels)
    : options_(options), kernels_(&kernels), rng_(options.seed) {
  const auto finite = [](float v) { return std::isfinite(v); };
  require(finite(options.temperature) && options.temperature >= 0, "temperature",
          options.temperature, "0 or more");
  require(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "0 or more");
  require(options.top_p > 0 && options.top_p <= 1, "top-p", options.top_p, "above 0, at most 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min-p", options.min_p, "0 to 1");
  require(finite(options.repeat_penalty) && options.repeat_penalty > 0, "repeat penalty",
          options.repeat_penalty, "above 0");
  require(options.repeat_last_n >= -1, "repeat-last-n", static_cast<double>(options.repeat_last_n),
          "-1 or more");
}

/// `logits` to logits_; returns the highest.
float Sampler::keep_finite(std::span<const float> logits) {
  logits_.resize(logits.size());
  const float top = kernels_->keep_finite(logits.data(), logits_.data(), std::ssize(logits));
  if (top == kNever) throw_no_finite_logit(logits.size());
  return top;
}

TokenId Sampler::first_of(float logit) const {
  return static_cast<TokenId>(std::find(logits_.begin(), logits_.end(), logit) - logits_.begin());
}

TokenId Sampler::likeliest(std::span<const float> logits) { return first_of(keep_finite(logits)); }

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  float top = keep_finite(logits);
  if (options_.repeat_penalty != 1.0F) {
    penalise(history);
    top = keep_finite(logits_);
  }
  if (options_.temperature == 0) return first_of(top);
  if (draws_among_all()) {
    scores_.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      scores_[i] = (logits_[i] - top) / options_.temperature;
    }
    return static_cast<TokenId>(draw());
  }
  if (options_.top_k > 0) {
    take_best(static_cast<std::size_t>(options_.top_k));
    if (options_.top_p < 1) keep_top_p();
  } else if (options_.top_p < 1) {
    take_top_p(top);
  } else {
    take_above(least_for_min_p(top));
  }
  keep_min_p();
  return draw_candidate(top);
}

bool Sampler::draws_among_all() const noexcept {
  return options_.top_k == 0 && options_.top_p == 1.0F && options_.min_p == 0.0F;
}

void Sampler::penalise(std::span<const TokenId> history) {
  const float penalty = options_.repeat_penalty;
  if (options_.repeat_last_n >= 0) {
    const auto count = std::min(history.size(), static_cast<std::size_t>(options_.repeat_last_n));
    history = history.last(count);
  }
  penalised_.assign(history.begin(), history.end());
  std::sort(penalised_.begin(), penalised_.end());
  penalised_.erase(std::unique(penalised_.begin(), penalised_.end()), penalised_.end());
  for (const TokenId id : penalised_) {
    if (id < 0 || id >= std::ssize(logits_)) continue;
    float& logit = logits_[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

/// Candidates are the finite logits of at least `least`, in the order of their ids.
template <class Float>
void Sampler::take_above(Float least) {
  candidates_.clear();
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] >= least && logits_[i] != kNever) {
      candidates_.emplace_back(logits_[i], static_cast<TokenId>(i));
    }
  }
}

/// Candidates are the `count` highest logits, or as many as are finite, best first.
void Sampler::take_best(std::size_t count) {
  // As many blocks as there are to be tokens hold logits of at least the count-th highest of their
  // maxima, so no logit below that is among the highest: few are left to be sorted.
  maxima_.clear();
  for (std::size_t begin = 0; begin < logits_.size(); begin += kBlock) {
    float* block = logits_.data() + begin;
    const auto size = static_cast<std::int64_t>(std::min(kBlock, logits_.size() - begin));
    maxima_.push_back(kernels_->keep_finite(block, block, size));
  }
  float least = kNever;
  if (count < maxima_.size()) {
    const auto nth = maxima_.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    std::nth_element(maxima_.begin(), nth, maxima_.end(), std::greater<>());
    least = *nth;
  }
  take_above(least);
  count = std::min(count, candidates_.size());
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(candidates_.begin(), end, candidates_.end(), better);
  candidates_.erase(end, candidates_.end());
  std::sort(candidates_.begin(), candidates_.end(), better);
}

/// Of candidates sorted best first, the fewest that reach top_p of `total`, or of their own sum;
/// false where all of them together do not.
bool Sampler::keep_top_p(double total) {
  const double top = candidates_.front().first;
  weights_.clear();
  for (const Candidate& c : candidates_) weights_.push_back(std::exp(c.first - top));
  if (total == 0) {
    for (const double w : weights_) total += w;
  }
  const double enough = static_cast<double>(options_.top_p) * total;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && sum < enough) sum += weights_[kept++];
  candidates_.resize(kept);
  return sum >= enough;
}

/// The same of all logits, whose highest is `top`: looks at more and more of the highest.
void Sampler::take_top_p(float top) {
  scores_.assign(logits_.begin(), logits_.end());
  kernels_->softmax(scores_.data(), std::ssize(scores_));
  // Relative to the highest's weight, which keep_top_p() calls 1.
  const double total = sum(scores_) / scores_[static_cast<std::size_t>(first_of(top))];
  for (std::size_t count = 64;; count *= 8) {
    take_best(count);
    const bool is_all = candidates_.size() < count;
    if (keep_top_p(total) || is_all) return;
  }
}

double Sampler::least_for_min_p(float top) const {
  return top + std::log(static_cast<double>(options_.min_p));
}

void Sampler::keep_min_p() {
  if (options_.min_p == 0) return;
  float top = kNever;
  for (const Candidate& c : candidates_) top = std::max(top, c.first);
  const double least = least_for_min_p(top);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.first < least; });
}

TokenId Sampler::draw_candidate(float top) {
  // In the order of ids, so that the draw does not depend on how the candidates were selected.
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.second < b.second; };
  std::sort(candidates_.begin(), candidates_.end(), by_id);
  scores_.clear();
  for (const Candidate& c : candidates_) {
    scores_.push_back((c.first - top) / options_.temperature);
  }
  return candidates_[draw()].second;
}

/// An index drawn from softmax(scores_), whose highest is 0.
std::size_t Sampler::draw() {
  kernels_->softmax(scores_.data(), std::ssize(scores_));
  double left = rng_.uniform() * sum(scores_);
  std::size_t chosen = scores_.size();
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    if (scores_[i] == 0) continue;
    chosen = i;  // rounding can leave a remainder: the last possible token takes it
    left -= static_cast<double>(scores_[i]);
    if (left < 0) break;
  }
  return chosen;
}

}  // namespace onebit::runtime
