// What evaluation needs of a model, whichever engine runs it. cli holds the adapters.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "text/tokenizer.h"

namespace onebit::eval {

/// Receives the logits that follow position `position`: f32 [vocab], valid during the call.
using LogitsSink = std::function<void(std::int64_t position, std::span<const float> logits)>;

/// One sequence of a batch; logits are wanted of positions first, first+1, …, tokens.size()-1.
struct Sequence {
  std::span<const text::TokenId> tokens;
  std::int64_t first = 0;
};

/// As LogitsSink, of sequence `index` of a batch.
using BatchSink =
    std::function<void(std::size_t index, std::int64_t position, std::span<const float> logits)>;

class Scorer {
 public:
  virtual ~Scorer() = default;

  virtual std::int64_t vocab_size() const = 0;
  virtual std::int64_t context() const = 0;  ///< longest sequence score() takes

  /// Runs `tokens` as one sequence from an empty context, and hands over the logits of positions
  /// first, first+1, …, tokens.size()-1, in order. Throws the engine's Error.
  virtual void score(std::span<const text::TokenId> tokens, std::int64_t first,
                     const LogitsSink& sink) = 0;

  /// Runs each of `sequences` from an empty context, as score() does, whose logits these equal up
  /// to rounding. Positions of one sequence come in order, sequences in any order. An engine may
  /// run them side by side, and compute once what they share at their beginnings; here they run one
  /// after another.
  virtual void score_batch(std::span<const Sequence> sequences, const BatchSink& sink) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      score(
          sequences[i].tokens, sequences[i].first,
          [&](std::int64_t position, std::span<const float> logits) { sink(i, position, logits); });
    }
  }
};

}  // namespace onebit::eval
