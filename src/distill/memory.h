// What a run needs of a device's memory, from sizes alone: to choose machines before there are any,
// and to say so before a run begins. docs/scaling.md has the table for 7B and 13B models.
#pragma once

#include <cstdint>

#include "arch/model_config.h"
#include "distill/mixture.h"
#include "distill/recipe.h"

namespace onebit::distill {

/// Bytes of one process. With P weights of matrices, T numbers trained (of `onebit` P and the
/// scales, of `lowrank` the factors, of others P, all but for the K weights of matrices that a
/// mixture keeps; with train_ends embedding and head, E, too), c bytes a value of the compute type,
/// p one of its product_type() (nn/fused.h), W processes, N = batch · length tokens of a
/// micro-batch:
struct MemoryEstimate {
  /// Embedding, head, norms: 4 V·D each in f32, and p V·D twice for the heads; kept matrices, c K.
  double frozen = 0;
  double teacher = 0;    ///< c P; without one 0
  double masters = 0;    ///< 4 T: latent weights and scales, or what there is in their place
  double signs = 0;      ///< what is multiplied, p (P - K), or one block's with checkpointing
  double gradients = 0;  ///< 4 T
  double moments = 0;    ///< 8 T / W
  double states = 0;     ///< residual streams and attention maps that backward pass and losses hold
  double block = 0;      ///< what the backward pass needs of the blocks, or of one block
  double logits = 0;     ///< of one chunk of tokens

  /// What stays between steps, but for gradients: they come and go with each.
  double lasting() const { return frozen + teacher + masters + signs + moments; }
  double peak() const { return lasting() + gradients + states + block + logits; }
};

/// Of the end-to-end stage. `mixture`: the recipe's; null for none.
MemoryEstimate estimate_memory(const arch::ModelConfig& config, const Recipe& recipe, int processes,
                               bool gradient_checkpointing, torch::Device device,
                               const Mixture* mixture = nullptr);

/// Of the block-wise stage alone: one block of both models, its gradients and moments, and the
/// states of this process's segments and of `held_out` sequences, which on a CPU are in files. Of a
/// mixture's blocks the one that trains most.
MemoryEstimate estimate_block_memory(const arch::ModelConfig& config, const Recipe& recipe,
                                     int processes, std::int64_t held_out, torch::Device device,
                                     const Mixture* mixture = nullptr);

}  // namespace onebit::distill
