#include "cli/torch_scorer.h"

#include <cmath>
#include <gmock/gmock.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "cli/runtime_scorer.h"
#include "cli/test_scorer.h"
#include "nn/load.h"

namespace onebit::cli {
namespace {

using testing::Rows;

/// The largest difference, and the largest logit.
struct Difference {
  double worst = 0;
  double scale = 0;
};

Difference difference(const Rows& a, const Rows& b) {
  Difference result;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].size(), b[i].size()) << "sequence " << i;
    for (std::size_t j = 0; j < std::min(a[i].size(), b[i].size()); ++j) {
      result.worst = std::max(result.worst, std::abs(static_cast<double>(a[i][j]) - b[i][j]));
      result.scale = std::max(result.scale, std::abs(static_cast<double>(a[i][j])));
    }
  }
  return result;
}

// Sums of at most 70 terms (D 42, F 70, 64 keys), each off by 70 · 2^-24 of its terms' size at
// worst, and a few such sums one after the other in two layers: the bound of model_test.cc, once
// for each of the two that differ.
TEST(TorchScorer, ABatchAndEachAloneAndTheRuntimeAgree) {
  const testing::TempDir dir;
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), dir / "m.gguf");
  const auto cases = testing::scored_cases(config.vocab, config.context);
  const auto decoder = nn::load_dense(arch::Checkpoint::open(dir / "m.gguf"), torch::kFloat32);
  TorchScorer scorer(*decoder);
  const Rows alone = testing::score_each(scorer, cases);
  const Rows together = testing::score_together(scorer, cases);
  runtime::Model model =
      runtime::Model::load(dir / "m.gguf", {.kv = runtime::KvType::kF32, .isa = {}});
  RuntimeScorer other(model);
  for (const Rows& rows : {together, testing::score_together(other, cases)}) {
    const Difference d = difference(alone, rows);
    EXPECT_GT(d.scale, 0.1);
    EXPECT_LE(d.worst, 2 * 16 * 96 * 0x1p-24 * d.scale);
  }
  EXPECT_EQ(testing::score_together(scorer, {}), Rows{});
}

TEST(TorchScorer, WhatCannotBeScoredIsNamed) {
  const testing::TempDir dir;
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), dir / "m.gguf");
  const auto decoder = nn::load_dense(arch::Checkpoint::open(dir / "m.gguf"), torch::kFloat32);
  TorchScorer scorer(*decoder);
  const auto says = [&](const std::vector<testing::ScoredCase>& cases) -> std::string {
    try {
      testing::score_together(scorer, cases);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_EQ(says({{{1}, 0}, {{2}, 0}, {{3, 40}, 0}}),
            "sequence 2 of 3: token 1 of 2: found id 40, expected 0 to 36");
  EXPECT_EQ(says({{testing::Ids(65, 1), 0}}),
            "found 65 tokens, expected at most 64, the model's context");
}

}  // namespace
}  // namespace onebit::cli
