#include "cli/runtime_scorer.h"

#include <gmock/gmock.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "cli/test_scorer.h"

namespace onebit::cli {
namespace {

TEST(RuntimeScorer, ABatchGivesTheBitsOfEachAlone) {
  const testing::TempDir dir;
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), dir / "m.gguf");
  runtime::Model model = runtime::Model::load(dir / "m.gguf", {.threads = 2, .isa = {}});
  RuntimeScorer scorer(model);
  const auto cases = testing::scored_cases(config.vocab, config.context);
  const testing::Rows expected = testing::score_each(scorer, cases);
  EXPECT_EQ(testing::score_together(scorer, cases), expected);
  EXPECT_EQ(testing::score_together(scorer, cases), expected);
  EXPECT_EQ(testing::score_together(scorer, {}), testing::Rows{});
}

TEST(RuntimeScorer, WhatCannotBeScoredIsNamed) {
  const testing::TempDir dir;
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), dir / "m.gguf");
  runtime::Model model = runtime::Model::load(dir / "m.gguf", {.isa = {}});
  RuntimeScorer scorer(model);
  try {
    testing::score_together(scorer, {{{1}, 0}, {{2}, 0}, {{3, 40}, 0}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "sequence 2 of 3: token 1 of 2: found id 40, expected 0 to 36");
  }
}

}  // namespace
}  // namespace onebit::cli
