// Which tensors take the input scales of which matrices.
#include "arch/folding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "arch/test_models.h"
#include "base/error.h"

namespace onebit::arch {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Folding, OfLlama) {
  ModelConfig config = test_models::tiny_config();
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 2;
  const std::vector<Folding> all = foldings(config);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].target, Role::kAttnNorm);
  EXPECT_THAT(all[0].readers, ElementsAre(Role::kAttnQ, Role::kAttnK, Role::kAttnV));
  EXPECT_EQ(all[0].size, config.dim);
  EXPECT_THAT(all[0].tie, IsEmpty());
  EXPECT_EQ(all[1].target, Role::kAttnV);
  EXPECT_THAT(all[1].readers, ElementsAre(Role::kAttnOut));
  EXPECT_EQ(all[1].size, 4);
  EXPECT_THAT(all[1].tie, ElementsAre(0, 1, 0, 1, 2, 3, 2, 3));  // two query heads a group
  EXPECT_EQ(all[2].target, Role::kFfnNorm);
  EXPECT_THAT(all[2].readers, ElementsAre(Role::kFfnGate, Role::kFfnUp));
  EXPECT_EQ(all[3].target, Role::kFfnUp);
  EXPECT_THAT(all[3].readers, ElementsAre(Role::kFfnDown));
  EXPECT_EQ(all[3].size, config.ffn);
  EXPECT_EQ(folding_into(all, Role::kFfnUp), &all[3]);
  EXPECT_EQ(folding_into(all, Role::kOutputNorm), nullptr);
}

// With an output LayerNorm, or a norm between a matrix and its reader, nothing folds.
TEST(Folding, IsRefusedWithTheMatrixThatHasNothingToFoldInto) {
  ModelConfig config = test_models::tiny_config();
  ArchSpec arch = *config.arch;
  std::vector<TensorSpec> tensors(arch.tensors.begin(), arch.tensors.end());
  for (TensorSpec& spec : tensors) {
    if (spec.role == Role::kAttnOut) spec.folds_into.reset();
  }
  arch.tensors = tensors;
  config.arch = &arch;
  try {
    foldings(config);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("found matrix attn_output of architecture llama"));
  }
}

}  // namespace
}  // namespace onebit::arch
