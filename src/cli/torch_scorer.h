// A model on libtorch as what evaluation measures.
#pragma once

#include "eval/scorer.h"
#include "nn/decoder.h"
#include "runtime/prefix_plan.h"

namespace onebit::cli {

class TorchScorer final : public eval::Scorer {
 public:
  /// `model` is whole, in f32 on the CPU, and must outlive the object.
  explicit TorchScorer(nn::DecoderModel& model) : model_(model) {}

  std::int64_t vocab_size() const override { return model_.config().vocab; }
  std::int64_t context() const override { return model_.config().context; }
  void score(std::span<const text::TokenId> tokens, std::int64_t first,
             const eval::LogitsSink& sink) override;

  /// Sequences of similar lengths side by side, padded on the right: attention is causal, so that
  /// no token sees the padding. Those equal to another, or to its beginning, are not run. Logits
  /// differ from score()'s as f32 sums in another order do, since libtorch chooses its products by
  /// their shapes.
  void score_batch(std::span<const eval::Sequence> sequences, const eval::BatchSink& sink) override;

 private:
  struct Row;

  void run(std::span<const runtime::WantedSequence> sequences, const runtime::SequenceSink& sink);
  void run_rows(const runtime::PrefixPlan& plan, std::span<const Row> rows,
                const runtime::SequenceSink& sink);

  nn::DecoderModel& model_;
};

}  // namespace onebit::cli
