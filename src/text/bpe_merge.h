// The merge loop that byte-level BPE and SentencePiece's BPE share: again and again the best pair
// of neighbours becomes one symbol, in O(n log n) for a word of n symbols, however long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace onebit::text {

/// A part of a word, in a doubly linked list over an array; size 0 once merged away.
struct Symbol {
  std::int32_t prev = -1;
  std::int32_t next = -1;
  std::int32_t begin = 0;  ///< bytes, into the word
  std::int32_t size = 0;
  TokenId id = -1;  ///< -1: no token (yet)
};

/// What a pair of neighbours would become.
template <typename Priority>
struct Merge {
  Priority priority;  ///< the least is merged first, among equals the leftmost
  TokenId id;
};

/// Appends a symbol at the list's end.
inline void append_symbol(std::vector<Symbol>& symbols, std::int32_t size, TokenId id) {
  Symbol symbol;
  symbol.id = id;
  symbol.size = size;
  if (!symbols.empty()) {
    const auto last = static_cast<std::int32_t>(symbols.size()) - 1;
    symbol.prev = last;
    symbol.begin = symbols.back().begin + symbols.back().size;
    symbols.back().next = last + 1;
  }
  symbols.push_back(symbol);
}

/// Merges until no pair can be: `lookup(left, right)` gives std::optional<Merge<Priority>> for two
/// neighbouring symbols. What remains is the list from symbols[0] along `next`.
template <typename Priority, typename Lookup>
void merge_symbols(std::vector<Symbol>& symbols, const Lookup& lookup) {
  struct Candidate {
    Priority priority;
    std::int32_t left;
    std::int32_t right;
    std::int32_t size;  ///< of both: tells whether one of them has grown since
    TokenId id;

    bool operator<(const Candidate& other) const {  // std::priority_queue's top is the greatest
      if (priority != other.priority) return other.priority < priority;
      return other.left < left;
    }
  };
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(storage));
  const auto push = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    const Symbol& a = symbols[static_cast<std::size_t>(left)];
    const Symbol& b = symbols[static_cast<std::size_t>(right)];
    if (const std::optional<Merge<Priority>> merge = lookup(a, b)) {
      queue.push({merge->priority, left, right, a.size + b.size, merge->id});
    }
  };
  for (std::int32_t i = 1; i < static_cast<std::int32_t>(symbols.size()); ++i) push(i - 1, i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<std::size_t>(best.left)];
    Symbol& right = symbols[static_cast<std::size_t>(best.right)];
    if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
    left.size = best.size;
    left.id = best.id;
    left.next = right.next;
    right.size = 0;
    if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].prev = best.left;
    push(left.prev, best.left);
    push(best.left, left.next);
  }
}

}  // namespace onebit::text
