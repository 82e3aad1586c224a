// The stage before end-to-end training: block after block, the student's block is trained alone to
// turn the student's own state into the teacher's state after that block. Errors of earlier blocks
// are thus seen and made up for by later ones, no backward pass is longer than a block, and memory
// for gradients and moments is that of one block.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <torch/types.h>

#include "base/progress.h"
#include "distill/optimizer.h"
#include "nn/decoder.h"

namespace onebit::distill {

struct BlockStageOptions {
  std::int64_t steps = 0;       ///< optimiser steps of a block; 0: no such stage
  std::int64_t segments = 48;   ///< sequences that all blocks are fitted on
  std::int64_t batch = 1;       ///< sequences of a step
  double learning_rate = 1e-2;  ///< of the latent weights; falls to zero along a cosine
  double scale_rate = 0.4;      ///< learning rate of g and h as a multiple of it
};

/// What the stage tells while it goes on.
struct BlockStageEvents {
  /// A block is fitted; `loss` is the mean over its last quarter of steps.
  std::function<void(std::int64_t layer, double loss)> done;
  /// `reason` was not finite: the block begins again with its rate times `rate_scale`.
  std::function<void(const std::string& reason, std::int64_t layer, double rate_scale)> retry;
};

/// A block whose loss or gradient is not finite begins again with half the rate; after this many
/// times the stage gives up.
inline constexpr int kMaxBlockRetries = 5;

/// Minimises relative_error(losses.h) block by block, from block `first` on; blocks before it are
/// as an earlier call left them. `tokens`: int64 [segments, T], this process's part. `adam` as in
/// the stage that follows, but for its scale_rate. The residual states of all segments are held
/// three times in f32: 3·segments·T·D·4 bytes. A stop of any process throws Error{kInterrupted}
/// between two blocks, in all. Throws Error{kNumeric} as Adam::step, when a block fails again and
/// again.
void fit_blocks(nn::DecoderModel& teacher, nn::DecoderModel& student, const torch::Tensor& tokens,
                std::int64_t first, const BlockStageOptions& options, const AdamOptions& adam,
                ProcessGroup& group, const BlockStageEvents& events, Progress& progress,
                const std::stop_token& stop);

}  // namespace onebit::distill
