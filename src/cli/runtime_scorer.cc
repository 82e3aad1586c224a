#include "cli/runtime_scorer.h"

namespace onebit::cli {

void RuntimeScorer::score(std::span<const text::TokenId> tokens, std::int64_t first,
                          const eval::LogitsSink& sink) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (!cache_ || cache_->capacity() < count) cache_.emplace(model_.make_cache(count));
  cache_->truncate(0);
  const auto vocab = static_cast<std::size_t>(vocab_size());
  model_.forward_each(
      tokens, *cache_, first, [&](std::int64_t position, std::span<const float> logits) {
        for (std::size_t row = 0; row * vocab < logits.size(); ++row) {
          sink(position + static_cast<std::int64_t>(row), logits.subspan(row * vocab, vocab));
        }
      });
}

void RuntimeScorer::score_batch(std::span<const eval::Sequence> sequences,
                                const eval::BatchSink& sink) {
  runner_.run(wanted(sequences), sink);
}

std::vector<runtime::WantedSequence> wanted(std::span<const eval::Sequence> sequences) {
  std::vector<runtime::WantedSequence> result;
  result.reserve(sequences.size());
  for (const eval::Sequence& sequence : sequences) {
    result.push_back({sequence.tokens, sequence.first});
  }
  return result;
}

}  // namespace onebit::cli
