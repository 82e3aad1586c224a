#include "runtime/cache_pool.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace onebit::runtime {
namespace {

/// Capacities are multiples of it, so that a cache serves sequences of similar lengths.
constexpr std::int64_t kGrain = 2 * KvCache::kBlock;

}  // namespace

void HeldCache::hold(std::span<const text::TokenId> tokens) {
  ONEBIT_CHECK(std::ssize(tokens) == cache_.length());
  tokens_.assign(tokens.begin(), tokens.end());
}

void HeldCache::truncate(std::int64_t length) {
  cache_.truncate(length);
  tokens_.resize(static_cast<std::size_t>(length));
}

void HeldCache::copy_prefix(const HeldCache& from, std::int64_t length) {
  cache_.copy_prefix(from.cache_, length);
  tokens_.assign(from.tokens_.begin(), from.tokens_.begin() + length);
}

std::uint64_t CachePool::bytes_of(const HeldCache& held) const noexcept {
  return KvCache::bytes(config_, held.capacity(), type_);
}

bool CachePool::is_worth_less(const HeldCache& a, const HeldCache& b) noexcept {
  return std::tuple(a.in_use_, a.worth_keeping_, a.given_back_) <
         std::tuple(b.in_use_, b.worth_keeping_, b.given_back_);
}

HeldCache* CachePool::take(std::int64_t capacity) {
  capacity = (capacity + kGrain - 1) / kGrain * kGrain;
  const auto empty = [](HeldCache& held) {
    held.truncate(0);
    held.in_use_ = true;
    return &held;
  };
  // The smallest that is large enough and holds nothing of worth.
  HeldCache* best = nullptr;
  for (const auto& held : caches_) {
    if (held->in_use_ || held->worth_keeping_ || held->capacity() < capacity) continue;
    if (best == nullptr || held->capacity() < best->capacity()) best = held.get();
  }
  if (best != nullptr) return empty(*best);

  const std::uint64_t needed = KvCache::bytes(config_, capacity, type_);
  const auto leaves_room = [&](std::uint64_t others) {
    return needed <= budget_ && others <= budget_ - needed;
  };
  std::uint64_t in_use = 0;
  for (const auto& held : caches_) in_use += held->in_use_ ? bytes_of(*held) : 0;
  if (in_use > 0 && !leaves_room(in_use)) return nullptr;
  while (!caches_.empty() && !leaves_room(used_)) {
    const auto least =
        std::min_element(caches_.begin(), caches_.end(),
                         [](const auto& a, const auto& b) { return is_worth_less(*a, *b); });
    used_ -= bytes_of(**least);
    caches_.erase(least);
  }
  caches_.push_back(std::make_unique<HeldCache>(KvCache(config_, capacity, type_)));
  used_ += needed;
  return empty(*caches_.back());
}

CachePool::Match CachePool::find(std::span<const text::TokenId> tokens) const {
  Match best;
  for (const auto& held : caches_) {
    if (held->in_use_) continue;
    const auto [end, other] =
        std::mismatch(held->tokens_.begin(), held->tokens_.end(), tokens.begin(), tokens.end());
    const std::int64_t length = end - held->tokens_.begin();
    if (length > best.length) best = {held.get(), length};
  }
  return best;
}

void CachePool::claim(HeldCache& held) {
  ONEBIT_CHECK(!held.in_use_);
  held.in_use_ = true;
}

void CachePool::give_back(HeldCache& held, bool worth_keeping) {
  ONEBIT_CHECK(held.in_use_);
  held.in_use_ = false;
  held.worth_keeping_ = worth_keeping;
  held.given_back_ = ++clock_;
}

void CachePool::recall() noexcept {
  for (const auto& held : caches_) {
    if (!held->in_use_) continue;
    held->truncate(0);
    held->in_use_ = false;
    held->worth_keeping_ = false;
  }
}

void CachePool::keep_latest(std::size_t count) {
  std::vector<HeldCache*> kept;
  for (const auto& held : caches_) {
    if (!held->in_use_ && held->worth_keeping_) kept.push_back(held.get());
  }
  std::sort(kept.begin(), kept.end(),
            [](const HeldCache* a, const HeldCache* b) { return is_worth_less(*b, *a); });
  for (std::size_t i = count; i < kept.size(); ++i) kept[i]->worth_keeping_ = false;
}

}  // namespace onebit::runtime
