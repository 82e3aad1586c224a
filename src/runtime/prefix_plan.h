// What has to be computed of several sequences that share beginnings: a tree of runs of tokens, in
// which what sequences have in common stands once. No model is needed to plan.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "arch/model_config.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

/// A sequence that is run from an empty context; logits are wanted of positions first, first + 1,
/// …, tokens.size() - 1, of none from tokens.size() on. 0 <= first.
struct WantedSequence {
  std::span<const text::TokenId> tokens;
  std::int64_t first = 0;
};

/// Receives the logits that follow a position of sequence `index`: f32 [vocab], valid during the
/// call.
using SequenceSink =
    std::function<void(std::size_t index, std::int64_t position, std::span<const float> logits)>;

/// Throws Error{kInvalidArgument} for a sequence without tokens, one longer than the model's
/// context or an id outside its vocabulary, naming the sequence where there are several.
void check_sequences(std::span<const WantedSequence> sequences, const arch::ModelConfig& config);

/// Positions [begin, end) of one or more sequences that have the same tokens up to `end`.
struct PrefixNode {
  std::int64_t parent;      ///< index of the node that ends at `begin`; -1 where begin is 0
  std::size_t sequence;     ///< one that has all of these tokens
  std::int64_t begin;       ///< 0 <= begin < end
  std::int64_t end;         ///< likewise
  std::int64_t first;       ///< somebody wants logits of each of [first, end), and of no other
  std::int64_t deepest;     ///< the largest `end` of this node and all below it
  std::size_t members;      ///< where those of these sequences begin in the plan's order,
  std::size_t members_end;  ///< and end: some may end within the node
};

class PrefixPlan {
 public:
  /// A common beginning becomes a node where that saves at least this many tokens: its length times
  /// one less than the branches that follow it.
  static constexpr std::int64_t kNeverShare = std::numeric_limits<std::int64_t>::max();

  /// `sequences` must outlive the plan. With least_saving 1 each token of each beginning stands in
  /// one node; with kNeverShare only sequences that are wholly a beginning of another (or equal)
  /// share its nodes. Sequences of which nothing is wanted are not there at all. At most as many
  /// tokens as all sequences have, whatever least_saving is.
  PrefixPlan(std::span<const WantedSequence> sequences, std::int64_t least_saving);

  /// Parents stand before their children, a node's descendants right behind it; children in the
  /// order of the first of their sequences.
  std::span<const PrefixNode> nodes() const noexcept { return nodes_; }

  /// All positions that the nodes hold.
  std::int64_t tokens() const noexcept;

  /// Tokens [begin, end) of a node's path, 0 <= begin <= end <= node.end.
  std::span<const text::TokenId> path(const PrefixNode& node, std::int64_t begin,
                                      std::int64_t end) const;

  /// Hands the logits of a position of the node to the sequences that want them.
  void deliver(const PrefixNode& node, std::int64_t position, std::span<const float> logits,
               const SequenceSink& sink) const;

 private:
  class Builder;

  std::span<const WantedSequence> sequences_;
  std::vector<std::size_t> order_;  ///< indices, sorted by the sequences' tokens
  std::vector<PrefixNode> nodes_;
};

}  // namespace onebit::runtime
