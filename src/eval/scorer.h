// What evaluation needs of a model, whichever engine runs it. cli holds the adapters.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "text/tokenizer.h"

namespace onebit::eval {

/// Receives the logits that follow position `position`: f32 [vocab], valid during the call.
using LogitsSink = std::function<void(std::int64_t position, std::span<const float> logits)>;

class Scorer {
 public:
  virtual ~Scorer() = default;

  virtual std::int64_t vocab_size() const = 0;
  virtual std::int64_t context() const = 0;  ///< longest sequence score() takes

  /// Runs `tokens` as one sequence from an empty context, and hands over the logits of positions
  /// first, first+1, …, tokens.size()-1, in order. Throws the engine's Error.
  virtual void score(std::span<const text::TokenId> tokens, std::int64_t first,
                     const LogitsSink& sink) = 0;
};

}  // namespace onebit::eval
