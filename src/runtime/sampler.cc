#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace onebit::runtime {
namespace {

using text::TokenId;

constexpr float kNever = -std::numeric_limits<float>::infinity();

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

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> history) {
  if (options_.temperature == 0 && options_.repeat_penalty == 1.0F) return argmax(logits);
  if (draws_among_all()) {
    const float top = logits[static_cast<std::size_t>(argmax(logits))];
    scores_.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const float logit = std::isfinite(logits[i]) ? logits[i] : kNever;
      scores_[i] = (logit - top) / options_.temperature;
    }
    return static_cast<TokenId>(draw());
  }
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    candidates_.emplace_back(logits[i], static_cast<TokenId>(i));
  }
  penalise(history);
  std::erase_if(candidates_, [](const Candidate& c) { return !std::isfinite(c.first); });
  if (candidates_.empty()) throw_no_finite_logit(logits.size());
  if (options_.temperature == 0) {
    return std::min_element(candidates_.begin(), candidates_.end(), better)->second;
  }
  keep_top_k();
  keep_top_p();
  keep_min_p();
  return draw_candidate();
}

bool Sampler::draws_among_all() const noexcept {
  return options_.temperature > 0 && options_.repeat_penalty == 1.0F && options_.top_k == 0 &&
         options_.top_p == 1.0F && options_.min_p == 0.0F;
}

/// Candidates are still in the order of their ids.
void Sampler::penalise(std::span<const TokenId> history) {
  const float penalty = options_.repeat_penalty;
  if (penalty == 1.0F) return;
  if (options_.repeat_last_n >= 0) {
    const auto count = std::min(history.size(), static_cast<std::size_t>(options_.repeat_last_n));
    history = history.last(count);
  }
  penalised_.assign(history.begin(), history.end());
  std::sort(penalised_.begin(), penalised_.end());
  penalised_.erase(std::unique(penalised_.begin(), penalised_.end()), penalised_.end());
  for (const TokenId id : penalised_) {
    if (id < 0 || id >= std::ssize(candidates_)) continue;
    float& logit = candidates_[static_cast<std::size_t>(id)].first;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void Sampler::keep_top_k() {
  if (options_.top_k == 0 || options_.top_k >= std::ssize(candidates_)) return;
  const auto end = candidates_.begin() + options_.top_k;
  std::nth_element(candidates_.begin(), end, candidates_.end(), better);
  candidates_.erase(end, candidates_.end());
}

void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  std::sort(candidates_.begin(), candidates_.end(), better);
  const double top = candidates_.front().first;
  double total = 0;
  weights_.clear();
  for (const Candidate& c : candidates_) total += weights_.emplace_back(std::exp(c.first - top));
  const double enough = static_cast<double>(options_.top_p) * total;
  double sum = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && sum < enough) sum += weights_[kept++];
  candidates_.resize(kept);
}

void Sampler::keep_min_p() {
  if (options_.min_p == 0) return;
  const Candidate best = *std::min_element(candidates_.begin(), candidates_.end(), better);
  const double least = best.first + std::log(static_cast<double>(options_.min_p));
  // min-p 1 keeps the highest whatever the logarithm's rounding.
  std::erase_if(candidates_,
                [&](const Candidate& c) { return c.first < least && c.first != best.first; });
}

TokenId Sampler::draw_candidate() {
  // In the order of ids, so that the draw does not depend on how the candidates were selected.
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.second < b.second; };
  if (!std::is_sorted(candidates_.begin(), candidates_.end(), by_id)) {
    std::sort(candidates_.begin(), candidates_.end(), by_id);
  }
  const float top = std::min_element(candidates_.begin(), candidates_.end(), better)->first;
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

TokenId argmax(std::span<const float> logits) {
  std::ptrdiff_t best = -1;
  for (std::ptrdiff_t i = 0; i < std::ssize(logits); ++i) {
    const float logit = logits[static_cast<std::size_t>(i)];
    if (std::isfinite(logit) && (best < 0 || logit > logits[static_cast<std::size_t>(best)])) {
      best = i;
    }
  }
  if (best < 0) throw_no_finite_logit(logits.size());
  return static_cast<TokenId>(best);
}

}  // namespace onebit::runtime
