#include "runtime/prefix_plan.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/check_tokens.h"

namespace onebit::runtime {
namespace {

using text::TokenId;

/// Positions [begin, end).
struct Interval {
  std::int64_t begin;
  std::int64_t end;
};

}  // namespace

void check_sequences(std::span<const WantedSequence> sequences, const arch::ModelConfig& config) {
  check_each(sequences.size(), [&](std::size_t i) {
    const std::span<const TokenId> tokens = sequences[i].tokens;
    if (std::ssize(tokens) > config.context) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("found {} tokens, expected at most {}, the model's context",
                              tokens.size(), config.context));
    }
    check_tokens(tokens, config.vocab);
  });
}

class PrefixPlan::Builder {
 public:
  Builder(PrefixPlan& plan, std::int64_t least_saving)
      : plan_(plan), least_saving_(std::max(std::int64_t{1}, least_saving)) {}

  void build() {
    sort();
    if (ends_.empty()) return;
    divide({{.begin = 0, .end = ends_.size(), .depth = 0, .parent = -1}});
    while (!todo_.empty()) {
      const Range range = todo_.back();
      todo_.pop_back();
      const std::int64_t node = add_nodes(range);
      if (range.end - range.begin > 1) divide(branches(range, range.stop, node));
    }
    for (auto node = plan_.nodes_.rbegin(); node != plan_.nodes_.rend(); ++node) {
      if (node->parent < 0) continue;
      PrefixNode& parent = plan_.nodes_[static_cast<std::size_t>(node->parent)];
      parent.deepest = std::max(parent.deepest, node->deepest);
    }
  }

 private:
  /// Families [begin, end), all with the same tokens up to `depth`, where node `parent` ends, and
  /// up to `stop`.
  struct Range {
    std::size_t begin;
    std::size_t end;
    std::int64_t depth;
    std::int64_t parent;
    std::int64_t stop = 0;
    std::size_t earliest = 0;  ///< index of a sequence
  };

  const WantedSequence& sequence(std::size_t at) const {
    return plan_.sequences_[plan_.order_[at]];
  }
  std::span<const TokenId> tokens(std::size_t at) const { return sequence(at).tokens; }

  /// Sorted, each sequence stands before those that it is a beginning of. A family is one that is a
  /// beginning of no other, with its own beginnings before it: contiguous, since what stands
  /// between a beginning and the whole has that beginning too.
  void sort() {
    for (std::size_t i = 0; i < plan_.sequences_.size(); ++i) {
      ONEBIT_CHECK(plan_.sequences_[i].first >= 0);
      if (plan_.sequences_[i].first < std::ssize(plan_.sequences_[i].tokens)) {
        plan_.order_.push_back(i);
      }
    }
    std::sort(plan_.order_.begin(), plan_.order_.end(), [&](std::size_t a, std::size_t b) {
      const std::span<const TokenId> x = plan_.sequences_[a].tokens;
      const std::span<const TokenId> y = plan_.sequences_[b].tokens;
      if (std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end())) return true;
      if (std::lexicographical_compare(y.begin(), y.end(), x.begin(), x.end())) return false;
      return a < b;
    });
    for (std::size_t i = 0; i < plan_.order_.size(); ++i) {
      const bool begins_next =
          i + 1 < plan_.order_.size() && shared(i, i + 1, 0) == std::ssize(tokens(i));
      if (!begins_next) ends_.push_back(i + 1);
    }
  }

  /// How many tokens two sequences have in common, `known` of them at least.
  std::int64_t shared(std::size_t a, std::size_t b, std::int64_t known) const {
    const std::span<const TokenId> x = tokens(a).subspan(static_cast<std::size_t>(known));
    const std::span<const TokenId> y = tokens(b).subspan(static_cast<std::size_t>(known));
    return known + (std::mismatch(x.begin(), x.end(), y.begin(), y.end()).first - x.begin());
  }

  /// A family's longest, which stands for it, and where the family begins.
  std::size_t longest(std::size_t family) const { return ends_[family] - 1; }
  std::size_t begin_of(std::size_t family) const { return family == 0 ? 0 : ends_[family - 1]; }

  /// A range by the token that follows position `stop`, up to which all are the same: no family's
  /// longest is a beginning of another's, so that each has one.
  std::vector<Range> branches(const Range& range, std::int64_t depth, std::int64_t parent) const {
    std::vector<Range> result;
    const auto next = [&](std::size_t family) {
      return tokens(longest(family))[static_cast<std::size_t>(range.stop)];
    };
    for (std::size_t begin = range.begin; begin < range.end;) {
      std::size_t end = begin + 1;
      while (end < range.end && next(end) == next(begin)) ++end;
      result.push_back({.begin = begin, .end = end, .depth = depth, .parent = parent});
      begin = end;
    }
    return result;
  }

  /// Ranges with one parent become those that get a node each: what is not worth one is divided.
  void divide(std::vector<Range> open) {
    std::vector<Range> settled;
    while (!open.empty()) {
      Range range = open.back();
      open.pop_back();
      const bool alone = range.end - range.begin == 1;
      range.stop = alone ? std::ssize(tokens(longest(range.begin)))
                         : shared(longest(range.begin), longest(range.end - 1), range.depth);
      std::vector<Range> parts;
      if (!alone) parts = branches(range, range.depth, range.parent);
      if (alone || (std::ssize(parts) - 1) * (range.stop - range.depth) >= least_saving_) {
        const auto first = plan_.order_.begin();
        range.earliest =
            *std::min_element(first + static_cast<std::ptrdiff_t>(begin_of(range.begin)),
                              first + static_cast<std::ptrdiff_t>(ends_[range.end - 1]));
        settled.push_back(range);
      } else {
        open.insert(open.end(), parts.begin(), parts.end());
      }
    }
    // The last of them is the first to be done.
    std::sort(settled.begin(), settled.end(),
              [](const Range& a, const Range& b) { return a.earliest > b.earliest; });
    todo_.insert(todo_.end(), settled.begin(), settled.end());
  }

  /// Nodes for positions [depth, stop): one, or a chain of several where logits are wanted of some
  /// positions, but not of later ones. Returns the last.
  std::int64_t add_nodes(const Range& range) {
    PrefixNode node = {.parent = range.parent,
                       .sequence = plan_.order_[longest(range.end - 1)],
                       .begin = range.depth,
                       .end = range.stop,
                       .first = range.stop,
                       .deepest = range.stop,
                       .members = begin_of(range.begin),
                       .members_end = ends_[range.end - 1]};
    const auto add = [&](std::int64_t first, std::int64_t to) {
      node.first = first;
      node.end = node.deepest = to;
      plan_.nodes_.push_back(node);
      node.parent = std::ssize(plan_.nodes_) - 1;
      node.begin = to;
    };
    for (const Interval& wanted : wanted_within(node)) add(wanted.begin, wanted.end);
    if (node.begin < range.stop) add(range.stop, range.stop);
    return node.parent;
  }

  /// The positions of a node of which somebody wants logits, in order, with gaps between.
  std::vector<Interval> wanted_within(const PrefixNode& node) const {
    std::vector<Interval> found;
    for (std::size_t at = node.members; at < node.members_end; ++at) {
      const Interval wanted = {std::max(sequence(at).first, node.begin),
                               std::min(std::ssize(tokens(at)), node.end)};
      if (wanted.begin < wanted.end) found.push_back(wanted);
    }
    std::sort(found.begin(), found.end(),
              [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
    std::vector<Interval> merged;
    for (const Interval& wanted : found) {
      if (!merged.empty() && wanted.begin <= merged.back().end) {
        merged.back().end = std::max(merged.back().end, wanted.end);
      } else {
        merged.push_back(wanted);
      }
    }
    return merged;
  }

  PrefixPlan& plan_;
  std::int64_t least_saving_;
  std::vector<std::size_t> ends_;  ///< of the families, in the plan's order
  std::vector<Range> todo_;
};

PrefixPlan::PrefixPlan(std::span<const WantedSequence> sequences, std::int64_t least_saving)
    : sequences_(sequences) {
  Builder(*this, least_saving).build();
}

std::int64_t PrefixPlan::tokens() const noexcept {
  std::int64_t sum = 0;
  for (const PrefixNode& node : nodes_) sum += node.end - node.begin;
  return sum;
}

std::span<const TokenId> PrefixPlan::path(const PrefixNode& node, std::int64_t begin,
                                          std::int64_t end) const {
  ONEBIT_CHECK(0 <= begin && begin <= end && end <= node.end);
  return sequences_[node.sequence].tokens.subspan(static_cast<std::size_t>(begin),
                                                  static_cast<std::size_t>(end - begin));
}

void PrefixPlan::deliver(const PrefixNode& node, std::int64_t position,
                         std::span<const float> logits, const SequenceSink& sink) const {
  for (std::size_t at = node.members; at < node.members_end; ++at) {
    const WantedSequence& member = sequences_[order_[at]];
    if (member.first <= position && position < std::ssize(member.tokens)) {
      sink(order_[at], position, logits);
    }
  }
}

}  // namespace onebit::runtime
