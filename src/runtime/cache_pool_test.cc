// The pool keeps within its bound, gives up what is worth least first, and finds what is held.
#include "runtime/cache_pool.h"

#include <gtest/gtest.h>

#include "runtime/test_logits.h"

namespace onebit::runtime {
namespace {

using testing::Ids;

class Pool : public ::testing::Test {
 protected:
  /// Room for `blocks` of the 128 tokens that capacities are multiples of.
  CachePool pool(std::uint64_t blocks) const {
    return {config_, KvType::kF16, blocks * KvCache::bytes(config_, 128, KvType::kF16)};
  }

  static void fill(HeldCache& held, const Ids& tokens) {
    held.truncate(0);
    held.cache().advance(std::ssize(tokens));
    held.hold(tokens);
  }

  arch::ModelConfig config_ = testing::long_config();
};

TEST_F(Pool, GivesWhatFitsAndTheFirstInAnyCase) {
  CachePool two = pool(2);
  HeldCache* a = two.take(1);
  HeldCache* b = two.take(128);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_NE(a, b);
  EXPECT_GE(a->capacity(), 1);
  EXPECT_GE(b->capacity(), 128);
  EXPECT_EQ(two.take(1), nullptr);
  two.give_back(*a, false);
  EXPECT_EQ(two.take(5), a);
  EXPECT_EQ(two.take(129), nullptr);
  two.give_back(*a, false);
  two.give_back(*b, false);
  // A longer one than there is room for, alone.
  HeldCache* large = two.take(1000);
  ASSERT_NE(large, nullptr);
  EXPECT_GE(large->capacity(), 1000);
  EXPECT_EQ(two.take(1), nullptr);
  two.recall();
  EXPECT_EQ(two.take(1), large);
}

TEST_F(Pool, AnEmptyBudgetStillGivesOne) {
  CachePool none = pool(0);
  HeldCache* a = none.take(7);
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(none.take(7), nullptr);
}

TEST_F(Pool, FindsTheLongestBeginning) {
  CachePool three = pool(3);
  HeldCache* a = three.take(10);
  HeldCache* b = three.take(10);
  HeldCache* c = three.take(10);
  fill(*a, {1, 2, 3});
  fill(*b, {1, 2, 4, 5});
  fill(*c, {1, 2, 4, 6, 7});
  EXPECT_EQ(three.find(Ids{1, 2, 4}).held, nullptr);  // in use
  for (HeldCache* held : {a, b, c}) three.give_back(*held, true);
  const auto expect = [&](const Ids& tokens, HeldCache* held, std::int64_t length) {
    const CachePool::Match match = three.find(tokens);
    EXPECT_EQ(match.held, held);
    EXPECT_EQ(match.length, length);
  };
  expect({1, 2, 3, 4}, a, 3);
  expect({1, 2, 4, 5, 6}, b, 4);
  expect({1, 2, 4, 6}, c, 4);
  expect({9}, nullptr, 0);
  expect({}, nullptr, 0);
  three.claim(*c);
  expect({1, 2, 4, 6}, b, 3);
  c->truncate(2);
  three.give_back(*c, true);
  expect({1, 2, 4, 6}, b, 3);
}

TEST_F(Pool, LosesFirstWhatIsWorthLeast) {
  CachePool three = pool(3);
  HeldCache* a = three.take(10);
  HeldCache* b = three.take(10);
  HeldCache* c = three.take(10);
  fill(*a, {1});
  fill(*b, {2});
  fill(*c, {3});
  three.give_back(*b, true);
  three.give_back(*c, false);
  three.give_back(*a, true);
  EXPECT_EQ(three.take(1), c);
  EXPECT_EQ(c->length(), 0);
  // b was given back before a.
  EXPECT_NE(three.take(1), nullptr);
  EXPECT_EQ(three.find(Ids{2}).held, nullptr);
  EXPECT_EQ(three.find(Ids{1}).held, a);
}

TEST_F(Pool, KeepsTheLatest) {
  CachePool four = pool(4);
  std::vector<HeldCache*> held;
  for (const text::TokenId id : {0, 1, 2, 3}) {
    held.push_back(four.take(10));
    fill(*held.back(), {id});
  }
  for (HeldCache* one : held) four.give_back(*one, true);
  four.keep_latest(1);
  for (int i = 0; i < 3; ++i) EXPECT_NE(four.take(1), held[3]);
  EXPECT_EQ(four.find(Ids{3}).held, held[3]);
}

TEST_F(Pool, WhatIsRecalledHoldsNothing) {
  CachePool two = pool(2);
  HeldCache* a = two.take(10);
  HeldCache* b = two.take(10);
  fill(*a, {1, 2});
  fill(*b, {3, 4});
  two.give_back(*a, true);
  two.recall();
  EXPECT_EQ(two.find(Ids{3, 4}).held, nullptr);
  EXPECT_EQ(two.find(Ids{1, 2}).held, a);
}

TEST_F(Pool, CopiesOfABeginning) {
  CachePool two = pool(2);
  HeldCache* a = two.take(10);
  HeldCache* b = two.take(10);
  fill(*a, {1, 2, 3});
  b->copy_prefix(*a, 2);
  EXPECT_EQ(b->length(), 2);
  two.give_back(*b, true);
  EXPECT_EQ(two.find(Ids{1, 2, 3}).length, 2);
}

}  // namespace
}  // namespace onebit::runtime
