// What tests of both engines' scorers share: a batch, and its logits by score() and by
// score_batch(). Only *_test.cc files include this.
#pragma once

#include <gtest/gtest.h>
#include <vector>

#include "base/rng.h"
#include "eval/scorer.h"

namespace onebit::testing {

using Ids = std::vector<text::TokenId>;

/// A sequence and the position from which on its logits are wanted.
struct ScoredCase {
  Ids tokens;
  std::int64_t first;
};

/// Documents with endings, equal sequences, beginnings of others, one token, a whole context, and
/// one of which nothing is wanted.
inline std::vector<ScoredCase> scored_cases(std::int64_t vocab, std::int64_t context) {
  Rng rng(8);
  const auto random = [&](std::int64_t count) {
    Ids tokens;
    while (std::ssize(tokens) < count) {
      tokens.push_back(static_cast<text::TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
    }
    return tokens;
  };
  std::vector<ScoredCase> cases;
  for (const std::int64_t length : {5, 21, 30}) {
    const Ids beginning = random(length);
    for (const std::int64_t ending : {1, 3, 12, 20}) {
      Ids tokens = beginning;
      const Ids end = random(ending);
      tokens.insert(tokens.end(), end.begin(), end.end());
      cases.push_back({std::move(tokens), length - 1});
    }
  }
  cases.push_back(cases[5]);
  cases.push_back({Ids(cases[3].tokens.begin(), cases[3].tokens.begin() + 9), 2});
  cases.push_back({random(1), 0});
  cases.push_back({random(context), context - 3});
  cases.push_back({random(context), 0});
  cases.push_back({random(6), 6});
  return cases;
}

/// Rows one after the other, of each case.
using Rows = std::vector<std::vector<float>>;

inline Rows score_each(eval::Scorer& scorer, const std::vector<ScoredCase>& cases) {
  Rows rows;
  for (const ScoredCase& c : cases) {
    std::vector<float>& row = rows.emplace_back();
    scorer.score(c.tokens, c.first, [&](std::int64_t, std::span<const float> logits) {
      row.insert(row.end(), logits.begin(), logits.end());
    });
  }
  return rows;
}

inline Rows score_together(eval::Scorer& scorer, const std::vector<ScoredCase>& cases) {
  std::vector<eval::Sequence> sequences;
  sequences.reserve(cases.size());
  for (const ScoredCase& c : cases) sequences.push_back({c.tokens, c.first});
  Rows rows(cases.size());
  std::vector<std::int64_t> next(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) next[i] = cases[i].first;
  scorer.score_batch(sequences,
                     [&](std::size_t index, std::int64_t position, std::span<const float> logits) {
                       EXPECT_EQ(position, next[index]++);
                       rows[index].insert(rows[index].end(), logits.begin(), logits.end());
                     });
  return rows;
}

}  // namespace onebit::testing
