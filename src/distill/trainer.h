// A whole distillation run: start, steps, evaluations, checkpoints, the packed result. Prints
// nothing: it reports through an observer and a Progress.
//
//   RUN_DIR/state.safetensors   the latest checkpoint (train_state.h)
//   RUN_DIR/checkpoints/        older ones, if wanted, named by their steps
//   RUN_DIR/blocks/             what the block-wise stage has fitted, until the first step
//   RUN_DIR/start.gguf          of `onebit train`: the model before the first step
//   RUN_DIR/recipe.json         the recipe that it began with
//   RUN_DIR/pack.json           types of what model.gguf stores: "embed", "head", "scales"
//   RUN_DIR/model.gguf          the student of the latest checkpoint, packed
//   RUN_DIR/metrics.jsonl       one object a step or evaluation
//   RUN_DIR/events.out.tfevents.onebit   the same for TensorBoard
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>

#include "arch/packed_writer.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "distill/data.h"
#include "distill/process_group.h"
#include "distill/recipe.h"

namespace onebit::distill {

/// The student on held-out text, means over its tokens in nats.
struct Evaluation {
  double kl = 0;             ///< KL(teacher ‖ student)
  double cross_entropy = 0;  ///< −log p_student of the token that follows
  double teacher_cross_entropy = 0;
  std::int64_t tokens = 0;  ///< 0: there was no held-out text
  bool has_teacher = true;  ///< false: only the cross-entropy is anything
};

/// What a run tells while it goes on. Called from the thread that trains.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  /// The display of a phase, which counts `unit`: "start", "fit blocks", "distill".
  virtual std::unique_ptr<Progress> progress(const char* label, const char* unit) = 0;
  /// A block has been fitted to the given relative error (block_stage.h).
  virtual void on_block(std::int64_t layer, double error) = 0;
  virtual void on_step(std::int64_t step, const StepMetrics& metrics) = 0;
  virtual void on_evaluation(std::int64_t step, const Evaluation& evaluation) = 0;
  virtual void on_save(std::int64_t step) = 0;
  /// `reason` was not finite; the run goes on from step `step` with its rates times `rate_scale`.
  virtual void on_rollback(const std::string& reason, std::int64_t step, double rate_scale) = 0;
};

struct TrainOptions {
  torch::Device device = torch::kCPU;
  std::int64_t save_every = 500;        ///< steps; a checkpoint also falls due after kSaveSeconds
  std::int64_t eval_every = 500;        ///< steps; 0: at start and end only
  std::int64_t keep = 0;                ///< older checkpoints that stay
  bool resume = false;                  ///< go on with the run that the folder holds
  bool gradient_checkpointing = false;  ///< less memory, a forward pass more; the same result
  arch::PackOptions pack;               ///< of model.gguf; its provenance is filled in
  int threads = 0;                      ///< of the start; libtorch's are the caller's to set
};

/// After a loss or gradient that is not finite a run goes back to its last checkpoint and on with
/// half the rate. After this many such returns to one checkpoint it gives up.
inline constexpr int kMaxRollbacks = 5;

/// No more work than this is lost with the process, whatever save_every says.
inline constexpr double kSaveSeconds = 300;

struct TrainResult {
  Evaluation start;  ///< before the first step of this process
  Evaluation end;
  double seconds = 0;       ///< in optimiser steps, this process
  std::int64_t tokens = 0;  ///< trained on since this call, by all processes
};

/// A run: what is trained, on what, where, with whom. All that it refers to outlives it.
struct TrainJob {
  const arch::Checkpoint& teacher;
  const Recipe& recipe;
  const arch::Checkpoint* start;  ///< a packed student to begin with; null: as the recipe says
  /// The teacher has nothing to teach: its weights are where the student starts, the loss is that
  /// of the labels alone.
  bool from_scratch = false;
  const TokenSegments& train;
  const TokenSegments& held_out;  ///< may hold no segment
  std::filesystem::path folder;
  TrainOptions options;
  ProcessGroup& group;
  TrainObserver& observer;
  std::stop_token stop;
};

/// Can `recipe` run with this teacher? Throws Error{kUnsupported} for a packed model,
/// Error{kInvalidArgument} for sequences beyond its context; and as Mixture.
void require_teacher(const arch::Checkpoint& teacher, const Recipe& recipe);

/// Can `start` be the start of a student of this teacher in the recipe's form? Throws
/// Error{kInvalidArgument} naming what differs, and as require_untrained() (student.h).
void require_start(const arch::Checkpoint& start, const arch::Checkpoint& teacher,
                   const Recipe& recipe);

/// Can model.gguf of a run in `folder` be written in these types? Throws Error{kUnsupported} naming
/// the tensor that cannot; Error{kIo}.
void require_types(const arch::Checkpoint& teacher, const Recipe& recipe,
                   const std::filesystem::path& folder, arch::PackOptions types);

/// Runs the recipe and leaves the folder with state, model and metrics. Without steps the
/// block-wise stage is all, and the model is never in memory as a whole. When stopped it saves
/// after the step under way and throws Error{kInterrupted}. Otherwise throws Error: what
/// require_teacher throws, kNumeric (a loss or gradient that is not finite, again and again), kIo,
/// and what load_state throws. Deterministic for a fixed number of threads, libtorch's and the
/// start's. With several processes each trains on its own `batch` of every micro-batch of `batch` ·
/// size sequences; all read and the first one writes the folder, which they share; a lost one
/// throws Error{kResource} on the others.
TrainResult train(const TrainJob& job);

}  // namespace onebit::distill
