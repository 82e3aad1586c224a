// Plans against the definition: every wanted position handed over once, its node's path the
// sequence's tokens, and as many tokens as there are distinct beginnings.
#include "runtime/prefix_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <set>

#include "base/rng.h"
#include "runtime/test_logits.h"
#include "runtime/test_sequences.h"

namespace onebit::runtime {
namespace {

using testing::Case;
using testing::Ids;
using testing::message_of;
using testing::views;
using text::TokenId;

/// A node in short: its parent, its tokens, and how many of them, at the end, are wanted.
struct Short {
  std::int64_t parent;
  Ids tokens;
  std::int64_t wanted;

  friend bool operator==(const Short&, const Short&) = default;
  friend void PrintTo(const Short& s, std::ostream* out) {
    *out << fmt::format("{{{}, [{}], {}}}", s.parent, fmt::join(s.tokens, " "), s.wanted);
  }
};

std::vector<Short> shorts(const std::vector<Case>& cases, std::int64_t least_saving = 1) {
  const std::vector<WantedSequence> sequences = views(cases);
  const PrefixPlan plan(sequences, least_saving);
  std::vector<Short> result;
  for (const PrefixNode& node : plan.nodes()) {
    const auto path = plan.path(node, node.begin, node.end);
    result.push_back({node.parent, Ids(path.begin(), path.end()), node.end - node.first});
  }
  return result;
}

TEST(PrefixPlan, ADocumentsAnswersShareItsBeginning) {
  EXPECT_EQ(shorts({{{1, 2, 3, 4}, 2}, {{1, 2, 3, 5, 6}, 2}, {{1, 2, 3, 7}, 2}}),
            (std::vector<Short>{{-1, {1, 2, 3}, 1}, {0, {4}, 1}, {0, {5, 6}, 2}, {0, {7}, 1}}));
}

TEST(PrefixPlan, ExamplesThenQuestionsThenAnswers) {
  EXPECT_EQ(
      shorts(
          {{{9, 9, 1, 5}, 3}, {{9, 9, 1, 6}, 3}, {{9, 9, 2, 5}, 3}, {{8}, 0}, {{9, 9, 2, 6}, 3}}),
      (std::vector<Short>{{-1, {9, 9}, 0},
                          {0, {1}, 0},
                          {1, {5}, 1},
                          {1, {6}, 1},
                          {0, {2}, 0},
                          {4, {5}, 1},
                          {4, {6}, 1},
                          {-1, {8}, 1}}));
}

TEST(PrefixPlan, EqualSequencesAndBeginningsOfOthersAreThere) {
  EXPECT_EQ(shorts({{{1, 2, 3}, 2}, {{1, 2, 3}, 1}, {{1, 2}, 1}, {{1, 2, 3, 4}, 2}}),
            (std::vector<Short>{{-1, {1, 2, 3, 4}, 3}}));
  // Wanted before and after what nobody wants.
  EXPECT_EQ(shorts({{{1, 2}, 0}, {{1, 2, 3, 4, 5}, 4}}),
            (std::vector<Short>{{-1, {1, 2}, 2}, {0, {3, 4, 5}, 1}}));
  EXPECT_EQ(shorts({{{1}, 0}, {{1, 2, 3, 4}, 3}, {{1, 2, 3, 5}, 3}}),
            (std::vector<Short>{{-1, {1}, 1}, {0, {2, 3}, 0}, {1, {4}, 1}, {1, {5}, 1}}));
}

TEST(PrefixPlan, WhatNobodyWantsIsNotThere) {
  EXPECT_EQ(shorts({}), std::vector<Short>{});
  EXPECT_EQ(shorts({{{1, 2}, 2}, {{1, 3}, 7}}), std::vector<Short>{});
  EXPECT_EQ(shorts({{{1, 2, 3}, 3}, {{1, 2}, 1}}), (std::vector<Short>{{-1, {1, 2}, 1}}));
}

TEST(PrefixPlan, WhatSavesTooLittleIsComputedAgain) {
  const std::vector<Case> cases = {{{1, 2, 3}, 2}, {{1, 2, 4}, 2}, {{1, 2, 5}, 2}, {{1, 6}, 1}};
  const std::vector<Short> apart = {
      {-1, {1, 2, 3}, 1}, {-1, {1, 2, 4}, 1}, {-1, {1, 2, 5}, 1}, {-1, {1, 6}, 1}};
  // [1] saves 1 of 2 branches, [1, 2] 4 of 3.
  EXPECT_EQ(shorts(cases, 1),
            (std::vector<Short>{
                {-1, {1}, 0}, {0, {2}, 0}, {1, {3}, 1}, {1, {4}, 1}, {1, {5}, 1}, {0, {6}, 1}}));
  EXPECT_EQ(shorts(cases, 2),
            (std::vector<Short>{
                {-1, {1, 2}, 0}, {0, {3}, 1}, {0, {4}, 1}, {0, {5}, 1}, {-1, {1, 6}, 1}}));
  EXPECT_EQ(shorts(cases, 5), apart);
  EXPECT_EQ(shorts(cases, PrefixPlan::kNeverShare), apart);
}

TEST(PrefixPlan, Deepest) {
  const std::vector<Case> cases = {{{1, 2, 3, 4, 5}, 4}, {{1, 2, 3, 4, 6, 7}, 4}, {{1, 8}, 1}};
  const std::vector<WantedSequence> sequences = views(cases);
  const PrefixPlan plan(sequences, 1);
  std::vector<std::int64_t> deepest;
  for (const PrefixNode& node : plan.nodes()) deepest.push_back(node.deepest);
  EXPECT_EQ(deepest, (std::vector<std::int64_t>{6, 6, 5, 6, 2}));
}

TEST(PrefixPlan, RandomSequences) {
  Rng rng(4);
  std::int64_t shared = 0;
  for (int round = 0; round < 400; ++round) {
    // Few ids and short pieces of one another, so that beginnings coincide at all depths.
    std::vector<Case> cases;
    const std::uint64_t count = rng.below(14);
    for (std::uint64_t i = 0; i < count; ++i) {
      Case c = {};
      if (!cases.empty() && rng.below(3) > 0) {
        const Ids& other = cases[rng.below(cases.size())].tokens;
        c.tokens.assign(other.begin(),
                        other.begin() + static_cast<std::ptrdiff_t>(rng.below(other.size() + 1)));
      }
      while (c.tokens.empty() || rng.below(3) > 0) {
        c.tokens.push_back(static_cast<TokenId>(rng.below(3)));
      }
      c.first = static_cast<std::int64_t>(rng.below(c.tokens.size() + 2));
      cases.push_back(std::move(c));
    }
    std::set<Ids> beginnings;
    std::int64_t total = 0;
    for (const Case& c : cases) {
      if (c.first >= std::ssize(c.tokens)) continue;
      total += std::ssize(c.tokens);
      for (auto end = c.tokens.begin(); end != c.tokens.end();) {
        beginnings.emplace(c.tokens.begin(), ++end);
      }
    }
    const std::vector<WantedSequence> sequences = views(cases);
    for (const std::int64_t least :
         {std::int64_t{1}, std::int64_t{2}, std::int64_t{5}, PrefixPlan::kNeverShare}) {
      SCOPED_TRACE(fmt::format("round {}, least saving {}", round, least));
      const PrefixPlan plan(sequences, least);
      EXPECT_GE(plan.tokens(), std::ssize(beginnings));
      EXPECT_LE(plan.tokens(), least == 1 ? std::ssize(beginnings) : total);
      shared += total - plan.tokens();
      std::vector<std::vector<std::int64_t>> found(cases.size());
      for (std::size_t i = 0; i < plan.nodes().size(); ++i) {
        const PrefixNode& node = plan.nodes()[i];
        EXPECT_LT(node.begin, node.end);
        EXPECT_LE(node.begin, node.first);
        EXPECT_LE(node.first, node.end);
        ASSERT_LT(node.parent, static_cast<std::int64_t>(i));
        if (node.parent < 0) {
          EXPECT_EQ(node.begin, 0);
        } else {
          const PrefixNode& parent = plan.nodes()[static_cast<std::size_t>(node.parent)];
          EXPECT_EQ(parent.end, node.begin);
          EXPECT_GE(parent.deepest, node.deepest);
          EXPECT_TRUE(
              std::ranges::equal(plan.path(parent, 0, parent.end), plan.path(node, 0, node.begin)));
        }
        const auto path = plan.path(node, 0, node.end);
        for (std::int64_t position = node.begin; position < node.end; ++position) {
          bool wanted = false;
          plan.deliver(node, position, {}, [&](std::size_t index, std::int64_t at, auto) {
            EXPECT_EQ(at, position);
            const auto tokens = std::span(cases[index].tokens);
            EXPECT_TRUE(std::ranges::equal(tokens.first(static_cast<std::size_t>(at) + 1),
                                           path.first(static_cast<std::size_t>(at) + 1)));
            found[index].push_back(at);
            wanted = true;
          });
          EXPECT_EQ(wanted, position >= node.first);
        }
      }
      // Each wanted position once; in order, since a node's descendants stand behind it.
      for (std::size_t i = 0; i < cases.size(); ++i) {
        std::vector<std::int64_t> expected;
        for (std::int64_t at = cases[i].first; at < std::ssize(cases[i].tokens); ++at) {
          expected.push_back(at);
        }
        EXPECT_EQ(found[i], expected) << "sequence " << i;
      }
    }
  }
  EXPECT_GT(shared, 0);
}

TEST(PrefixPlan, WhatCannotRunIsNamed) {
  const arch::ModelConfig config = arch::test_models::tiny_config();  // 37 ids, 64 positions
  const auto says = [&](const std::vector<Case>& cases) {
    return message_of(ErrorCode::kInvalidArgument, [&] { check_sequences(views(cases), config); });
  };
  check_sequences({}, config);
  check_sequences(views({{Ids(64, 36), 0}, {{0}, 5}}), config);
  EXPECT_EQ(says({{{1}, 0}, {{2}, 0}, {{3, -1}, 0}, {{37}, 0}}),
            "sequence 2 of 4: token 1 of 2: found id -1, expected 0 to 36");
  EXPECT_EQ(says({{{1}, 0}, {Ids(65, 1), 0}}),
            "sequence 1 of 2: found 65 tokens, expected at most 64, the model's context");
  EXPECT_EQ(says({{{}, 0}, {{1}, 0}}),
            "sequence 0 of 2: tokens to evaluate: found none, expected at least 1");
  EXPECT_EQ(says({{Ids(65, 1), 0}}), "found 65 tokens, expected at most 64, the model's context");
}

}  // namespace
}  // namespace onebit::runtime
