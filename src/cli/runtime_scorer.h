// A runtime model as what evaluation measures.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "eval/scorer.h"
#include "runtime/sequence_runner.h"

namespace onebit::cli {

class RuntimeScorer final : public eval::Scorer {
 public:
  /// `model` must outlive the object.
  explicit RuntimeScorer(runtime::Model& model) : model_(model), runner_(model) {}

  std::int64_t vocab_size() const override { return model_.config().vocab; }
  std::int64_t context() const override { return model_.config().context; }
  void score(std::span<const text::TokenId> tokens, std::int64_t first,
             const eval::LogitsSink& sink) override;
  /// As runtime::SequenceRunner::run: the logits are score()'s, bit for bit.
  void score_batch(std::span<const eval::Sequence> sequences, const eval::BatchSink& sink) override;

 private:
  runtime::Model& model_;
  std::optional<runtime::KvCache> cache_;  ///< as long as the longest sequence so far
  runtime::SequenceRunner runner_;
};

/// A batch as the runtime's planning takes it.
std::vector<runtime::WantedSequence> wanted(std::span<const eval::Sequence> sequences);

}  // namespace onebit::cli
