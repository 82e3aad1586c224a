#include "runtime/synth.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "runtime/choices.h"
#include "text/unicode.h"

namespace onebit::runtime {
namespace {

using text::TokenId;
using text::TokenType;

/// As many tokens as the dense kernels serve with one decoding of a weight.
constexpr std::uint64_t kDefaultBatch = 96;
constexpr std::int64_t kMaxBatch = 4096;
constexpr std::int64_t kMaxSamples = std::int64_t{1} << 31;  // times a context is no overflow
constexpr std::uint64_t kCacheBudget = std::uint64_t{1} << 31;

/// The seed of one sample: SplitMix64, whose outputs for consecutive numbers are unrelated.
std::uint64_t sample_seed(std::uint64_t seed, std::int64_t sample) {
  std::uint64_t z = seed + (static_cast<std::uint64_t>(sample) + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

/// The ids that a sample may begin with: those of ordinary text.
std::vector<TokenId> first_tokens(const arch::Checkpoint& checkpoint, const Choices& choices) {
  const text::Tokenizer& tokenizer = checkpoint.tokenizer();
  const std::optional<text::TokenizerData> data = checkpoint.tokenizer_data();
  const auto is_text = [&](TokenId id) {
    if (tokenizer.is_control(id) || tokenizer.is_end(id) || id == data->unk) return false;
    const auto i = static_cast<std::size_t>(id);
    if (i < data->types.size() && data->types[i] == TokenType::kUnknown) return false;
    return choices.contains(id);
  };
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < choices.end(); ++id) {
    if (is_text(id)) ids.push_back(id);
  }
  if (ids.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: vocabulary: found control tokens only, expected ordinary ones",
                            checkpoint.path().string()));
  }
  return ids;
}

void require(std::string_view option, std::int64_t found, std::int64_t low, std::int64_t high) {
  if (found >= low && found <= high) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: found {}, expected {} to {}", option, found, low, high));
}

/// One sequence of the batch.
struct Sequence {
  Sequence(const Model& model, const SynthOptions& options)
      : cache(model.make_cache(options.length)), sampler(options.sampling, model.kernels()) {}

  std::int64_t sample = -1;
  KvCache cache;
  Sampler sampler;
  std::vector<float> scratch;
  std::int64_t greedy = 0;  ///< tokens that are still to be the likeliest
  std::vector<TokenId> tokens;
  std::size_t given = 0;  ///< of tokens, to begin with
  std::size_t run = 0;    ///< of tokens, whose keys and values the cache holds
  bool ended = false;
  std::exception_ptr error;
};

class Synthesizer {
 public:
  Synthesizer(Model& model, const SynthOptions& options)
      : model_(model),
        tokenizer_(model.checkpoint().tokenizer()),
        options_(options),
        choices_(model.checkpoint()),
        first_(first_tokens(model.checkpoint(), choices_)),
        started_(options.first),
        delivered_(options.first) {}

  SynthTotals run(const OnSample& on_sample, Progress& progress, const std::stop_token& stop);

 private:
  void start(Sequence& sequence);
  void advance(Sequence& sequence, std::span<const float> logits) const;
  void advance_all(std::span<const float> logits);
  void deliver(Sequence& sequence, const OnSample& on_sample);

  Model& model_;
  const text::Tokenizer& tokenizer_;
  const SynthOptions& options_;
  Choices choices_;
  std::vector<TokenId> first_;
  std::vector<Sequence> batch_;
  std::int64_t started_;  ///< samples, by their numbers
  std::int64_t delivered_;
  std::map<std::int64_t, std::vector<TokenId>> waiting_;  ///< ended before a sample of lower number
  SynthTotals totals_;
};

void Synthesizer::start(Sequence& s) {
  s.sample = started_++;
  Rng rng(sample_seed(options_.sampling.seed, s.sample));
  s.cache.truncate(0);
  s.tokens.clear();
  if (tokenizer_.adds_bos()) s.tokens.push_back(tokenizer_.bos());
  s.tokens.push_back(first_[rng.below(first_.size())]);
  s.given = s.tokens.size();
  s.run = 0;
  const std::int64_t spread = options_.greedy_most - options_.greedy_least + 1;
  s.greedy = options_.greedy_least +
             static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(spread)));
  s.sampler.reseed(rng.next());
  s.ended = std::ssize(s.tokens) >= options_.length;
}

/// Takes the token that follows what has run, unless it is given.
void Synthesizer::advance(Sequence& s, std::span<const float> logits) const {
  if (s.run < s.tokens.size()) return;
  const bool greedy = s.greedy > 0;
  logits = choices_.of(logits, s.scratch);
  const TokenId token = greedy ? s.sampler.likeliest(logits) : s.sampler.sample(logits, s.tokens);
  s.greedy -= greedy ? 1 : 0;
  s.tokens.push_back(token);
  s.ended = tokenizer_.is_end(token) || std::ssize(s.tokens) == options_.length;
}

void Synthesizer::advance_all(std::span<const float> logits) {
  const std::int64_t vocab = model_.config().vocab;
  model_.pool().parallel_for(std::ssize(batch_), 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      Sequence& s = batch_[static_cast<std::size_t>(i)];
      try {
        advance(s, logits.subspan(static_cast<std::size_t>(i * vocab),
                                  static_cast<std::size_t>(vocab)));
      } catch (...) {
        s.error = std::current_exception();  // the pool's work must not throw
      }
    }
  });
  for (const Sequence& s : batch_) {
    if (s.error) std::rethrow_exception(s.error);
  }
}

void Synthesizer::deliver(Sequence& s, const OnSample& on_sample) {
  totals_.tokens += std::ssize(s.tokens);
  totals_.generated += static_cast<std::int64_t>(s.tokens.size() - s.given);
  waiting_.emplace(s.sample, std::move(s.tokens));
  for (auto next = waiting_.begin(); next != waiting_.end() && next->first == delivered_;
       next = waiting_.erase(next), ++delivered_, ++totals_.samples) {
    SynthSample sample;
    sample.tokens = std::move(next->second);
    sample.text =
        text::replace_invalid_utf8(tokenizer_.decode(sample.tokens, true), text::kReplacement);
    on_sample(sample);
  }
}

SynthTotals Synthesizer::run(const OnSample& on_sample, Progress& progress,
                             const std::stop_token& stop) {
  const std::int64_t size = options_.batch > 0
                                ? options_.batch
                                : default_batch(model_.config(), options_.length, model_.kv_type());
  const std::int64_t samples = options_.samples - options_.first;
  batch_.reserve(static_cast<std::size_t>(std::min(size, samples)));
  while (std::ssize(batch_) < std::min(size, samples)) {
    start(batch_.emplace_back(model_, options_));
  }
  std::vector<BatchItem> items;
  // What remains at most: a sample that ends early takes its rest away.
  std::int64_t expected = samples * options_.length;
  std::int64_t done = 0;
  while (!batch_.empty()) {
    for (std::size_t i = 0; i < batch_.size();) {
      Sequence& s = batch_[i];
      if (!s.ended) {
        ++i;
        continue;
      }
      expected -= options_.length - std::ssize(s.tokens);
      deliver(s, on_sample);
      if (started_ < options_.samples) {
        start(s);
      } else {
        if (i + 1 < batch_.size()) s = std::move(batch_.back());
        batch_.pop_back();
      }
    }
    if (batch_.empty()) break;
    if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "synth was interrupted");
    items.clear();
    for (Sequence& s : batch_) items.push_back({s.tokens[s.run++], &s.cache});
    advance_all(model_.forward_batch(items));
    done += std::ssize(items);
    progress.update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(expected), "");
  }
  return totals_;
}

}  // namespace

std::int64_t default_batch(const arch::ModelConfig& config, std::int64_t length, KvType type) {
  const std::uint64_t fit = kCacheBudget / KvCache::bytes(config, length, type);
  return static_cast<std::int64_t>(std::clamp<std::uint64_t>(fit, 1, kDefaultBatch));
}

SynthTotals synthesize(Model& model, const SynthOptions& options, const OnSample& on_sample,
                       Progress& progress, const std::stop_token& stop) {
  const std::int64_t context = model.config().context;
  require("samples", options.samples, 0, kMaxSamples);
  require("number of the first sample", options.first, 0, options.samples);
  require("length of a sample", options.length, 2, context);
  require("batch", options.batch, 0, kMaxBatch);
  require("greedy tokens", options.greedy_least, 0, context);
  require("greedy tokens at most", options.greedy_most, options.greedy_least, context);
  return Synthesizer(model, options).run(on_sample, progress, stop);
}

}  // namespace onebit::runtime
