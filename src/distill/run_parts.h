// What the stages of a run share: its files, its record, its batches and its evaluations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <torch/types.h>

#include "distill/losses.h"
#include "distill/metrics_file.h"
#include "distill/student.h"
#include "distill/train_state.h"
#include "distill/trainer.h"

namespace onebit::distill {

/// `count` segments as int64 [count, T], where the run computes; at(i) is the segment of row i.
torch::Tensor gather(const TokenSegments& segments, std::int64_t count, torch::Device device,
                     const std::function<std::int64_t(std::int64_t)>& at);

/// The student's start, or the blocks of `range` alone: SVID or the job's packed student.
std::unique_ptr<nn::DecoderModel> first_student(const TrainJob& job, const Recipe& recipe,
                                                const nn::FrozenWeights& frozen, ThreadPool& pool,
                                                const StartProgress& progress,
                                                nn::LayerRange range);

/// What a resumed run must share with the one before.
RunIdentity identity_of(const TrainJob& job);

/// The job's PackOptions with the provenance filled in.
arch::PackOptions packing_of(const TrainJob& job);

/// Error{kInterrupted} for a run that goes on later; `when`: "after step 3 of 7".
[[noreturn]] void throw_interrupted(const TrainJob& job, const std::string& when);

/// The run's record, which the first process keeps.
class Record {
 public:
  explicit Record(const TrainJob& job) : job_(job) {}

  void begin() {
    open([](const nlohmann::ordered_json&) { return false; });
  }

  /// After the first `blocks` blocks are fitted.
  void resume_blocks(std::int64_t blocks) {
    open([=](const nlohmann::ordered_json& row) { return row.value("block", blocks) < blocks; });
  }

  /// After `steps` steps. The run that goes on begins with an evaluation: an earlier one of this
  /// step goes, but for the block-wise stage's.
  void resume_steps(std::int64_t steps) {
    open([=](const nlohmann::ordered_json& row) {
      const auto step = row.value("step", steps + 1);
      if (step == steps && row.contains("held_out_tokens")) return row.contains("blocks");
      return step <= steps;
    });
  }

  /// Back to `steps` steps, where nothing is evaluated again.
  void return_to(std::int64_t steps) {
    open([=](const nlohmann::ordered_json& row) { return row.value("step", steps + 1) <= steps; });
  }

  void add(nlohmann::ordered_json row) {
    if (file_) file_->add(std::move(row));
  }

  /// `row` with the evaluation's members added; tells the observer too. Nothing where there was no
  /// text.
  void add(nlohmann::ordered_json row, std::int64_t step, const Evaluation& evaluation);

 private:
  void open(const MetricsFile::Keep& keep) {
    if (job_.group.is_first()) file_.emplace(job_.folder, keep);
  }

  const TrainJob& job_;
  std::optional<MetricsFile> file_;
};

/// The held-out segments that this process evaluates.
class HeldOut {
 public:
  explicit HeldOut(const TrainJob& job) : job_(job) {}

  /// Rounds of at most `batch` segments that every process goes through, some perhaps with none.
  std::int64_t rounds() const;
  /// The segments of a round, int64 [count, T]; undefined for none.
  torch::Tensor tokens(std::int64_t round) const;

 private:
  const TrainJob& job_;
};

/// Means over all held-out tokens, of all processes.
class EvaluationSum {
 public:
  void add(const LogitLoss& loss, const torch::Tensor& tokens);
  Evaluation total(ProcessGroup& group) const;

 private:
  double kl_ = 0;
  double cross_entropy_ = 0;
  double teacher_cross_entropy_ = 0;
  double tokens_ = 0;
  double predicted_ = 0;
};

/// The block-wise stage over files: fits what the run's folder does not hold yet, and records how
/// the student does at the start. With `pack` it also writes model.gguf and says how that does:
/// all with one block in memory.
TrainResult run_block_stage(const TrainJob& job, Record& record, bool pack);

}  // namespace onebit::distill
