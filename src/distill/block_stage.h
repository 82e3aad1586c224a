// The stage before end-to-end training: block after block, the student's block is trained alone to
// turn the student's own state into the teacher's state after that block. Errors of earlier blocks
// are thus seen and made up for by later ones, no backward pass is longer than a block, and memory
// is that of one block: the others need not be loaded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
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

/// Models that hold one and the same block.
struct BlockPair {
  std::unique_ptr<nn::DecoderModel> teacher;
  std::unique_ptr<nn::DecoderModel> student;
};

/// Where the stage gets its blocks, and whom it tells what it has done.
class BlockStore {
 public:
  virtual ~BlockStore() = default;
  virtual std::int64_t layers() const = 0;
  /// Block `layer` of both models, the student's as it starts.
  virtual BlockPair load(std::int64_t layer) = 0;
  /// Makes the student's block what an earlier run has fitted; false: there is none.
  virtual bool restore(std::int64_t layer, nn::DecoderModel& student) = 0;
  /// A block is fitted; `loss` is the mean over its last quarter of steps.
  virtual void keep(std::int64_t layer, const nn::DecoderModel& student, double loss) = 0;
  /// `reason` was not finite: the block begins again with its rate times `rate_scale`.
  virtual void on_retry(std::int64_t layer, const std::string& reason, double rate_scale) = 0;
};

/// Residual streams [N, T, D] that go through all blocks of one kind, in place.
struct BlockStream {
  enum class Through : std::uint8_t { kTeacher, kStart, kFitted };
  Through through = Through::kTeacher;
  torch::Tensor states;
};

/// A block whose loss or gradient is not finite begins again with half the rate; after this many
/// times the stage gives up.
inline constexpr int kMaxBlockRetries = 5;

/// What a block reads of this process's sequences and what it should give, [segments, T, D] in the
/// residual's type, each in memory of its own; before the first block the embeddings, both.
struct BlockStates {
  torch::Tensor given;
  torch::Tensor wanted;
};

/// Minimises relative_error(losses.h) block by block on `states`, which go through the blocks in
/// place, and so do `streams`. `adam` as in the stage that follows, but for its scale_rate. A stop
/// of any process throws Error{kInterrupted} between two blocks, in all. Throws Error{kNumeric} as
/// Adam::step, when a block fails again and again.
void fit_blocks(BlockStore& store, const BlockStates& states, std::span<BlockStream> streams,
                const BlockStageOptions& options, const AdamOptions& adam, ProcessGroup& group,
                Progress& progress, const std::stop_token& stop);

}  // namespace onebit::distill
