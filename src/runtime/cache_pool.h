// Key/value caches within a bound on memory, which remember what they hold when they are given
// back: a sequence that begins as an earlier one did need not be computed from its beginning.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "arch/model_config.h"
#include "runtime/kv_cache.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

/// A cache and the tokens in it.
class HeldCache {
 public:
  explicit HeldCache(KvCache cache) : cache_(std::move(cache)) {}

  /// For a forward pass, which appends to it: hold() says what.
  KvCache& cache() noexcept { return cache_; }
  std::int64_t capacity() const noexcept { return cache_.capacity(); }
  std::int64_t length() const noexcept { return cache_.length(); }

  /// The cache now holds `tokens`, which are length() ones.
  void hold(std::span<const text::TokenId> tokens);

  void truncate(std::int64_t length);

  /// As KvCache::copy_prefix.
  void copy_prefix(const HeldCache& from, std::int64_t length);

  bool worth_keeping() const noexcept { return worth_keeping_; }

 private:
  friend class CachePool;

  KvCache cache_;
  std::vector<text::TokenId> tokens_;
  bool in_use_ = false;
  bool worth_keeping_ = false;
  std::uint64_t given_back_ = 0;  ///< when: the later, the larger
};

/// For one thread. A cache that is taken is the caller's until it is given back.
class CachePool {
 public:
  /// Caches of a model of this configuration, which must outlive the pool: no more than `bytes` in
  /// all, were they full, or a single one that is larger.
  CachePool(const arch::ModelConfig& config, KvType type, std::uint64_t bytes)
      : config_(config), type_(type), budget_(bytes) {}

  /// An empty cache for at least `capacity` tokens, which may cost another its contents, those not
  /// worth keeping first, then those given back first. Null where what is in use leaves no room.
  /// Throws as KvCache.
  HeldCache* take(std::int64_t capacity);

  struct Match {
    HeldCache* held = nullptr;
    std::int64_t length = 0;
  };

  /// Of the caches not in use, the one that has most of `tokens` at its beginning, and how many.
  Match find(std::span<const text::TokenId> tokens) const;

  /// Takes a cache that find() has found, with what it holds.
  void claim(HeldCache& held);

  /// Worth keeping: later sequences may begin as what it holds does.
  void give_back(HeldCache& held, bool worth_keeping);

  /// Gives back all that are in use, whatever they hold.
  void recall() noexcept;

  /// Of the contents worth keeping, all but the `count` that were given back last no longer are.
  void keep_latest(std::size_t count);

  /// What all caches, in use or not, take when they are full.
  std::uint64_t bytes() const noexcept { return used_; }

 private:
  std::uint64_t bytes_of(const HeldCache& held) const noexcept;
  /// Whether a is to be lost rather than b.
  static bool is_worth_less(const HeldCache& a, const HeldCache& b) noexcept;

  const arch::ModelConfig& config_;
  KvType type_;
  std::uint64_t budget_;
  std::uint64_t used_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<std::unique_ptr<HeldCache>> caches_;
};

}  // namespace onebit::runtime
