#include "runtime/sequence_runner.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace onebit::runtime {
namespace {

/// Tokens that a common beginning must save to be computed by itself: less would be lost again in
/// the smaller pass, and in keys and values that are copied.
constexpr std::int64_t kLeastSaving = 8;

/// Tokens of an earlier sequence that must be of use to look them up: likewise.
constexpr std::int64_t kLeastReuse = 2 * kLeastSaving;

/// Beginnings that stay for the next call: those of a task's examples, and what tasks share.
constexpr std::size_t kKept = 4;

/// Beginnings run in groups of so many passes, since what follows each of them then finds company
/// without a copy of its keys and values: one branch of each of many beginnings, then the next.
constexpr std::int64_t kBeginningPasses = 4;

/// Gives back what a call holds, however it ends.
class Recall {
 public:
  explicit Recall(CachePool& pool) : pool_(pool) {}
  ~Recall() { pool_.recall(); }
  Recall(const Recall&) = delete;
  Recall& operator=(const Recall&) = delete;

 private:
  CachePool& pool_;
};

}  // namespace

/// One call. A node of the plan is computed in a cache that holds its path up to where it begins:
/// its parent's, which is cut back to the parent's end afterwards, or another, to which the
/// beginning is copied. With no room for a second cache all nodes run one after the other in one.
class SequenceRunner::Batch {
 public:
  Batch(SequenceRunner& runner, std::span<const WantedSequence> sequences, const SequenceSink& sink)
      : runner_(runner),
        plan_(sequences, kLeastSaving),
        sink_(sink),
        children_(plan_.nodes().size()),
        caches_(plan_.nodes().size()),
        lent_(plan_.nodes().size()) {}

  void run() {
    const Recall recall(runner_.pool_);
    std::vector<std::size_t> roots;
    for (std::size_t i = 0; i < plan_.nodes().size(); ++i) {
      const std::int64_t parent = node(i).parent;
      (parent < 0 ? roots : children_[static_cast<std::size_t>(parent)]).push_back(i);
    }
    run_nodes(std::move(roots));
  }

 private:
  /// A node with a cache that holds its path up to `begin`.
  struct Placed {
    std::size_t node;
    HeldCache* held;
    std::int64_t begin;  ///< node.begin, or later where more was held
    bool is_parents;     ///< the parent's cache, lent
  };

  const PrefixNode& node(std::size_t i) const { return plan_.nodes()[i]; }

  /// Nodes whose parents are in their caches, and all below them.
  void run_nodes(std::vector<std::size_t> todo) {
    while (!todo.empty()) {
      const std::vector<Placed> group = place_some(todo);
      forward(group);
      std::vector<std::size_t> below;
      for (const Placed& placed : group) {
        const std::vector<std::size_t>& children = children_[placed.node];
        below.insert(below.end(), children.begin(), children.end());
      }
      run_nodes(std::move(below));
      for (const Placed& placed : group) release(placed);
      runner_.pool_.keep_latest(kKept);
    }
  }

  /// Takes as many nodes off `todo` as are to run next, at least one.
  std::vector<Placed> place_some(std::vector<std::size_t>& todo) {
    std::vector<Placed> group;
    std::int64_t rows = 0;
    std::int64_t most = runner_.model_.prompt_chunk();
    // Those that need no copy first.
    for (const bool may_copy : {false, true}) {
      std::vector<std::size_t> left;
      for (const std::size_t i : todo) {
        const std::int64_t limit =
            children_[i].empty() ? most : kBeginningPasses * runner_.model_.prompt_chunk();
        const bool fits = group.empty() || rows + node(i).end - node(i).begin <= limit;
        const std::optional<Placed> placed = !fits      ? std::nullopt
                                             : may_copy ? place_in_copy(i)
                                                        : place(i);
        if (!placed) {
          left.push_back(i);
          continue;
        }
        group.push_back(*placed);
        rows += node(i).end - placed->begin;
        most = std::max(most, limit);
      }
      todo = std::move(left);
    }
    ONEBIT_CHECK(!group.empty());
    return group;
  }

  std::optional<Placed> place(std::size_t i) {
    if (const std::optional<Placed> placed = place_in_earlier(i)) return placed;
    if (node(i).parent >= 0) {
      const auto parent = static_cast<std::size_t>(node(i).parent);
      if (lent_[parent]) return std::nullopt;
      // What stands for several sequences, and is most of its path, had better outlive the call.
      if (!children_[i].empty() && node(i).end > 2 * node(i).begin) {
        if (const std::optional<Placed> placed = place_in_copy(i)) return placed;
      }
      lent_[parent] = true;
      return Placed{i, caches_[parent], node(i).begin, /*is_parents=*/true};
    }
    HeldCache* held = runner_.pool_.take(node(i).deepest);
    if (held == nullptr) return std::nullopt;
    return Placed{i, held, 0, /*is_parents=*/false};
  }

  std::optional<Placed> place_in_copy(std::size_t i) {
    if (node(i).parent < 0) return std::nullopt;
    HeldCache* held = runner_.pool_.take(node(i).deepest);
    if (held == nullptr) return std::nullopt;
    held->copy_prefix(*caches_[static_cast<std::size_t>(node(i).parent)], node(i).begin);
    return Placed{i, held, node(i).begin, /*is_parents=*/false};
  }

  /// Where an earlier sequence has left more of the node's path than its parent has.
  std::optional<Placed> place_in_earlier(std::size_t i) {
    CachePool& pool = runner_.pool_;
    // What logits are wanted of is computed in any case.
    const auto [held, length] = pool.find(plan_.path(node(i), 0, node(i).first));
    if (length < node(i).begin + kLeastReuse) return std::nullopt;
    const bool fits = held->capacity() >= node(i).deepest;
    const bool loses_much = held->length() > 2 * length;
    pool.claim(*held);
    if (!fits || loses_much) {
      HeldCache* copy = pool.take(node(i).deepest);
      if (copy != nullptr) copy->copy_prefix(*held, length);
      if (copy != nullptr || !fits) pool.give_back(*held, held->worth_keeping());
      if (copy != nullptr) return Placed{i, copy, length, /*is_parents=*/false};
      if (!fits) return std::nullopt;
    }
    held->truncate(length);
    return Placed{i, held, length, /*is_parents=*/false};
  }

  void forward(const std::vector<Placed>& group) {
    std::vector<Continuation> items;
    std::vector<const Placed*> placed_of;
    for (const Placed& placed : group) {
      caches_[placed.node] = placed.held;
      const PrefixNode& n = node(placed.node);
      if (placed.begin == n.end) continue;
      items.push_back(
          {plan_.path(n, placed.begin, n.end), &placed.held->cache(), n.first - placed.begin});
      placed_of.push_back(&placed);
      runner_.tokens_run_ += n.end - placed.begin;
    }
    if (items.empty()) return;
    const auto vocab = static_cast<std::size_t>(runner_.model_.config().vocab);
    runner_.model_.forward_all(
        items, [&](std::size_t item, std::int64_t first, std::span<const float> logits) {
          std::int64_t position = placed_of[item]->begin + first;
          for (; !logits.empty(); logits = logits.subspan(vocab)) {
            plan_.deliver(node(placed_of[item]->node), position++, logits.first(vocab), sink_);
          }
        });
    for (const Placed& placed : group) {
      placed.held->hold(plan_.path(node(placed.node), 0, node(placed.node).end));
    }
  }

  void release(const Placed& placed) {
    caches_[placed.node] = nullptr;
    if (placed.is_parents) {
      placed.held->truncate(node(placed.node).begin);
      lent_[static_cast<std::size_t>(node(placed.node).parent)] = false;
    } else {
      // A leaf below others ends as nothing else does.
      const bool may_return = node(placed.node).parent < 0 || !children_[placed.node].empty();
      runner_.pool_.give_back(*placed.held, may_return);
    }
  }

  SequenceRunner& runner_;
  PrefixPlan plan_;
  const SequenceSink& sink_;
  std::vector<std::vector<std::size_t>> children_;
  std::vector<HeldCache*> caches_;  ///< of nodes under way
  std::vector<bool> lent_;          ///< whether a child has the node's cache
};

SequenceRunner::SequenceRunner(Model& model, std::uint64_t cache_bytes)
    : model_(model), pool_(model.config(), model.kv_type(), cache_bytes) {}

void SequenceRunner::run(std::span<const WantedSequence> sequences, const SequenceSink& sink) {
  check_sequences(sequences, model_.config());
  Batch(*this, sequences, sink).run();
}

}  // namespace onebit::runtime
