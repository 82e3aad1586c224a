// Merges by pair of token ids: an open-addressing hash table, since this lookup is most of
// encoding.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "text/bpe_merge.h"

namespace onebit::text {

class PairTable {
 public:
  explicit PairTable(std::size_t pairs)
      : entries_(std::bit_ceil(std::max<std::size_t>(2 * pairs, 16))) {}

  /// The first entry of a pair stays. At most as many pairs as announced.
  void insert(TokenId left, TokenId right, Merge<std::int32_t> merge) {
    Entry& entry = entries_[slot(key(left, right))];
    if (entry.key == kEmpty) entry = {key(left, right), merge};
  }

  std::optional<Merge<std::int32_t>> find(TokenId left, TokenId right) const {
    // Negative ids (no token) are in no pair, and one of them would look like an empty entry.
    if (left < 0 || right < 0) return std::nullopt;
    const Entry& entry = entries_[slot(key(left, right))];
    if (entry.key == kEmpty) return std::nullopt;
    return entry.merge;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  struct Entry {
    std::uint64_t key = kEmpty;
    Merge<std::int32_t> merge{0, -1};
  };

  static std::uint64_t key(TokenId left, TokenId right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }

  /// The key's entry, or the empty one where it would go. Half the entries are empty: it ends.
  std::size_t slot(std::uint64_t pair) const {
    const std::size_t mask = entries_.size() - 1;
    // Fibonacci hashing: 2^64 / golden ratio; the high bits are the well-mixed ones.
    std::size_t at = static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15u) >> 20) & mask;
    while (entries_[at].key != kEmpty && entries_[at].key != pair) at = (at + 1) & mask;
    return at;
  }

  std::vector<Entry> entries_;
};

}  // namespace onebit::text
