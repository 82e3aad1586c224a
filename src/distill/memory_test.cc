// The estimates against what libtorch's allocator hands out, on small models; and the figures of
// docs/scaling.md.
#include "distill/memory.h"

#include <atomic>
#include <c10/core/Allocator.h>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/check.h"
#include "base/test_paths.h"
#include "distill/distiller.h"
#include "distill/student.h"
#include "distill/student_method.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

/// Hands out memory as libtorch's own CPU allocator does, and counts it.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes == 0) return {nullptr, c10::Device(c10::kCPU)};
    void* block = std::aligned_alloc(kHead, (bytes + 2 * kHead - 1) / kHead * kHead);
    ONEBIT_CHECK(block != nullptr);
    std::memcpy(block, &bytes, sizeof bytes);
    now += static_cast<std::int64_t>(bytes);
    std::int64_t most = peak;
    while (most < now && !peak.compare_exchange_weak(most, now)) {
    }
    void* data = static_cast<std::byte*>(block) + kHead;
    return {data, data, &CountingAllocator::free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &CountingAllocator::free; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  static inline std::atomic<std::int64_t> now = 0;
  static inline std::atomic<std::int64_t> peak = 0;

 private:
  static constexpr std::size_t kHead = 64;  ///< before the data: its size, and its alignment

  static void free(void* data) {
    void* block = static_cast<std::byte*>(data) - kHead;
    std::size_t bytes = 0;
    std::memcpy(&bytes, block, sizeof bytes);
    now -= static_cast<std::int64_t>(bytes);
    std::free(block);
  }
};

/// From here on all tensors are counted. For the whole program: tensors may outlive a test.
void count_memory() {
  static const bool once = [] {
    c10::SetAllocator(c10::kCPU, new CountingAllocator, /*priority=*/255);
    return true;
  }();
  (void)once;
}

struct Case {
  const char* name;
  arch::Form form;
  std::int64_t group_size;
  torch::ScalarType compute;
  bool gradient_checkpointing;
  double beta;
  StudentMethod method = StudentMethod::kOneBit;
  double gamma = 0;
  const char* mixture = "";
};

class Memory : public ::testing::TestWithParam<Case> {};

TEST_P(Memory, EstimatesWhatIsMeasured) {
  const Case& c = GetParam();
  count_memory();
  const testing::TempDir folder;
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.layers = 6;
  config.dim = 128;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 16;
  config.ffn = 320;
  config.context = 256;
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), folder / "t.gguf",
                                formats::DType::kF32, /*tokenizer=*/true);
  const arch::Checkpoint checkpoint = arch::Checkpoint::open(folder / "t.gguf");
  Recipe recipe = best_recipe();
  if (c.method != StudentMethod::kOneBit) choose_method(recipe, c.method);
  recipe.form = c.form;
  recipe.group_size = c.group_size;
  recipe.compute = c.compute;
  recipe.loss.beta = c.beta;
  recipe.loss.gamma = c.gamma;
  recipe.mixture = c.mixture;
  recipe.batch = 4;
  recipe.length = 256;

  const std::int64_t before = CountingAllocator::now;
  const auto teacher = nn::load_dense(checkpoint, recipe.compute);
  ThreadPool pool(1);
  const auto student = start_student(checkpoint, teacher->frozen(), recipe, pool, {});
  if (c.gradient_checkpointing) student->recompute_blocks();
  Distiller distiller(teacher.get(), *student, recipe.loss, recipe.adam);
  const std::vector<torch::Tensor> batch = {
      torch::randint(3, 37, {recipe.batch, recipe.length}, torch::kInt64)};
  distiller.step(batch, 1e-3);
  CountingAllocator::peak = CountingAllocator::now.load();
  distiller.step(batch, 1e-3);
  const auto peak = static_cast<double>(CountingAllocator::peak - before);
  const auto lasting = static_cast<double>(CountingAllocator::now - before);

  const Mixture mixture(recipe, checkpoint);
  const MemoryEstimate estimate = estimate_memory(checkpoint.config(), recipe, 1,
                                                  c.gradient_checkpointing, torch::kCPU, &mixture);
  // Between steps the signs are there only where they are kept.
  const double signs = c.gradient_checkpointing ? estimate.signs : 0;
  EXPECT_NEAR(lasting / (estimate.lasting() - signs), 1, 0.04);
  EXPECT_NEAR(peak / estimate.peak(), 1, 0.15)
      << c.name << ": " << peak << " measured, " << estimate.peak() << " estimated";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Memory,
    ::testing::Values(
        Case{"free", arch::Form::kFree, 0, torch::kFloat32, false, 0},
        Case{"freeBf16", arch::Form::kFree, 0, torch::kBFloat16, false, 0},
        Case{"freeCheckpointing", arch::Form::kFree, 0, torch::kBFloat16, true, 0},
        Case{"paper", arch::Form::kPaper, 0, torch::kFloat32, false, 1},
        Case{"paperCheckpointing", arch::Form::kPaper, 0, torch::kBFloat16, true, 1},
        Case{"groups", arch::Form::kFoldable, 64, torch::kFloat32, false, 0},
        Case{"llmQat", arch::Form::kFree, 0, torch::kFloat32, false, 0, StudentMethod::kLlmQat},
        Case{"bitNet158", arch::Form::kFree, 0, torch::kFloat32, false, 0,
             StudentMethod::kBitNet158},
        Case{"lowRank", arch::Form::kFree, 0, torch::kFloat32, false, 0, StudentMethod::kLowRank},
        Case{"attention", arch::Form::kFree, 0, torch::kFloat32, false, 0, StudentMethod::kOneBit,
             1},
        Case{"attentionBf16", arch::Form::kFree, 0, torch::kBFloat16, false, 0,
             StudentMethod::kOneBit, 1},
        Case{"attentionCheckpointing", arch::Form::kFree, 0, torch::kFloat32, true, 0,
             StudentMethod::kOneBit, 1},
        Case{"kept", arch::Form::kFree, 0, torch::kFloat32, false, 0, StudentMethod::kOneBit, 0,
             "*.ffn_*=rtn:4"},
        Case{"keptBf16", arch::Form::kFree, 0, torch::kBFloat16, false, 0, StudentMethod::kOneBit,
             0, "*.ffn_*=f16,*.attn_v=rtn:2"},
        Case{"otherBits", arch::Form::kFree, 0, torch::kFloat32, false, 0, StudentMethod::kLowRank,
             0, "*.ffn_*=lowrank:8"}),
    [](const auto& c) { return std::string(c.param.name); });

/// Llama-2 of 7B and 13B parameters.
arch::ModelConfig llama(std::int64_t layers, std::int64_t dim, std::int64_t heads,
                        std::int64_t ffn) {
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.layers = layers;
  config.dim = dim;
  config.heads = config.kv_heads = heads;
  config.head_dim = 128;
  config.ffn = ffn;
  config.vocab = 32000;
  config.context = 4096;
  config.tied_head = false;
  return config;
}

// docs/scaling.md has these figures, in GB.
TEST(MemoryTable, OfLargeModels) {
  Recipe recipe = best_recipe();
  recipe.compute = torch::kBFloat16;
  recipe.batch = 1;
  recipe.length = 2048;
  const arch::ModelConfig small = llama(32, 4096, 32, 11008);
  const arch::ModelConfig large = llama(40, 5120, 40, 13824);
  const auto gb = [](double bytes) { return std::round(bytes / 1e8) / 10; };
  const auto peak = [&](const arch::ModelConfig& config, int processes) {
    return gb(
        estimate_memory(config, recipe, processes, /*gradient_checkpointing=*/true, torch::kCUDA)
            .peak());
  };
  EXPECT_DOUBLE_EQ(peak(small, 1), 121.6);
  EXPECT_DOUBLE_EQ(peak(small, 8), 76.2);
  EXPECT_DOUBLE_EQ(peak(small, 16), 73.0);
  EXPECT_DOUBLE_EQ(peak(large, 1), 234.8);
  EXPECT_DOUBLE_EQ(peak(large, 8), 146.0);
  EXPECT_DOUBLE_EQ(peak(large, 16), 139.6);
  recipe.block.segments = 128;
  recipe.steps = 0;
  EXPECT_DOUBLE_EQ(gb(estimate_block_memory(small, recipe, 1, 16, torch::kCUDA).peak()), 18.2);
  EXPECT_DOUBLE_EQ(gb(estimate_block_memory(large, recipe, 1, 16, torch::kCUDA).peak()), 24.1);
  recipe.compute = torch::kFloat32;
  EXPECT_DOUBLE_EQ(gb(estimate_block_memory(small, recipe, 1, 16, torch::kCPU).peak()), 8.1);
  EXPECT_DOUBLE_EQ(gb(estimate_block_memory(large, recipe, 1, 16, torch::kCPU).peak()), 11.9);
}

}  // namespace
}  // namespace onebit::distill
