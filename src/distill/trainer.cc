#include "distill/trainer.h"

#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <torch/utils.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "distill/metrics_file.h"
#include "distill/train_state.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using nlohmann::ordered_json;
using torch::Tensor;
using Clock = std::chrono::steady_clock;

/// Segments at the positions `first`, `first`+1, … as int64 [count, T]; `at` maps a position to a
/// segment.
template <class At>
Tensor gather(const TokenSegments& segments, std::int64_t first, std::int64_t count, At&& at) {
  Tensor batch = torch::empty({count, segments.length()}, torch::kInt64);
  std::int64_t* out = batch.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    for (const text::TokenId id : segments[at(first + i)]) *out++ = id;
  }
  return batch;
}

class Run {
 public:
  Run(const arch::Checkpoint& teacher, const Recipe& recipe, const TokenSegments& train,
      const TokenSegments& held_out, const std::filesystem::path& folder,
      const TrainOptions& options, ProcessGroup& group, TrainObserver& observer,
      std::stop_token stop)
      : source_(teacher),
        recipe_(recipe),
        train_(train),
        held_out_(held_out),
        folder_(folder),
        options_(options),
        group_(group),
        observer_(observer),
        stop_(std::move(stop)),
        identity_{to_json(recipe).dump(), teacher.sha256(), train.sha256()},
        teacher_(nn::load_dense(teacher, recipe.compute)),
        student_(make_student()),
        distiller_(*teacher_, *student_, recipe.loss, recipe.adam, group) {
    if (options.resume) {
      progress_ = load_state(state_path(), distiller_.optimizer(), identity_);
    } else {
      share_start();
    }
    saved_step_ = steps();
    options_.pack.provenance =
        arch::provenance_of(teacher, "onebit", recipe.form, recipe.group_size);
  }

  TrainResult operator()() {
    open_metrics(options_.resume ? steps() : -1);
    TrainResult result;
    result.start = evaluate();
    if (!options_.resume) save();  // what a first step that goes wrong returns to
    if (recipe_.block.steps > 0 && progress_.blocks < source_.config().layers) {
      fit();
      save();
      evaluate();
    }
    run_steps(result);
    save();
    result.end = evaluate();
    return result;
  }

 private:
  void run_steps(TrainResult& result) {
    const Schedule schedule = recipe_.schedule();
    const auto progress = observer_.progress("distill", "steps");
    SegmentOrder order(train_.size(), recipe_.seed);
    while (steps() < recipe_.steps) {
      const auto begin = Clock::now();
      const double rate = progress_.rate_scale * schedule.at(steps());
      StepMetrics step;
      try {
        step = distiller_.step(micro_batches(order), rate);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kNumeric) throw;
        roll_back(error);
        continue;
      }
      const std::chrono::duration<double> seconds = Clock::now() - begin;
      const std::int64_t tokens = sequences_per_step() * recipe_.length;
      result.seconds += seconds.count();
      result.tokens += tokens;
      record({{"step", steps()},
              {"loss", step.loss},
              {"kl", step.kl_per_token},
              {"cross_entropy", step.ce_per_token},
              {"hidden", step.hidden},
              {"attention", step.attention},
              {"grad_norm", step.grad_norm},
              {"lr", rate},
              {"tokens_per_second", static_cast<double>(tokens) / seconds.count()}});
      observer_.on_step(steps(), step);
      progress->update(static_cast<std::uint64_t>(steps()),
                       static_cast<std::uint64_t>(recipe_.steps),
                       fmt::format("KL {:.3f}", step.kl_per_token));
      const bool last = steps() == recipe_.steps;
      if (last) break;
      stop_if_asked();
      if (steps() % options_.save_every == 0 || group_.any(save_is_due())) save();
      if (options_.eval_every > 0 && steps() % options_.eval_every == 0) evaluate();
    }
  }

  /// To the last checkpoint, with half the rate, unless that has been tried enough.
  void roll_back(const Error& error) {
    const double rate_scale = progress_.rate_scale / 2;
    if (++rollbacks_ > kMaxRollbacks) {
      throw Error(ErrorCode::kNumeric,
                  fmt::format("{}, also after {} returns to step {} at half the rate each",
                              error.what(), kMaxRollbacks, saved_step_));
    }
    progress_ = load_state(state_path(), distiller_.optimizer(), identity_);
    progress_.rate_scale = rate_scale;
    open_metrics(steps());
    record({{"step", steps()}, {"rolled_back", error.what()}, {"rate_scale", rate_scale}});
    observer_.on_rollback(error.what(), steps(), rate_scale);
  }

  /// The run's record, which the first process keeps. Rows of later steps are dropped from it.
  void open_metrics(std::int64_t step) {
    if (group_.is_first()) metrics_.emplace(folder_, step, progress_.blocks);
  }

  void record(ordered_json row) {
    if (metrics_) metrics_->add(std::move(row));
  }

  /// Every process computes the start by itself; on unlike machines the last bits may differ.
  void share_start() {
    std::vector<OwnedTensor> all;
    for (const nn::Parameter& p : distiller_.optimizer().parameters()) all.push_back({p.value, 0});
    group_.share(all);
  }

  std::int64_t steps() const { return distiller_.optimizer().steps(); }
  std::int64_t sequences_per_step() const { return recipe_.sequences_per_step() * group_.size(); }
  std::filesystem::path state_path() const { return folder_ / "state.safetensors"; }

  std::unique_ptr<nn::DecoderModel> make_student() {
    std::unique_ptr<nn::DecoderModel> student = first_student();
    if (recipe_.train_norms) student->train_norms();
    if (options_.gradient_checkpointing) student->recompute_blocks();
    return student;
  }

  std::unique_ptr<nn::DecoderModel> first_student() {
    Recipe recipe = recipe_;
    if (options_.resume) recipe.svid.init = quant::Init::kCopy;  // at once; the state fills it in
    ThreadPool pool(options_.threads);
    const auto progress = observer_.progress("start", "layers");
    return start_student(source_, teacher_->frozen(), recipe, pool, *progress, stop_);
  }

  [[noreturn]] void throw_interrupted(const std::string& done) const {
    throw Error(ErrorCode::kInterrupted, fmt::format("interrupted after {}; saved in {}, --resume "
                                                     "goes on",
                                                     done, folder_.string()));
  }

  /// Saves and throws when any process is asked to stop.
  void stop_if_asked() {
    if (!group_.any(stop_.stop_requested())) return;
    save();
    throw_interrupted(fmt::format("step {} of {}", steps(), recipe_.steps));
  }

  /// This process's part of `count` samples: of the `block.batch` · size samples of a step its own
  /// `block.batch`. All of them where there are fewer than that.
  Tensor block_segments(std::int64_t count) {
    // Another order than the steps': with little data both see all of it, with much each sees other
    // parts.
    SegmentOrder order(train_.size(), ~recipe_.seed);
    const std::int64_t batch = recipe_.block.batch;
    const std::int64_t together = batch * group_.size();
    if (group_.size() == 1 || count < together) {
      return gather(train_, 0, count, [&](std::int64_t sample) { return order.at(sample); });
    }
    return gather(train_, 0, count / together * batch, [&](std::int64_t i) {
      return order.at(i / batch * together + group_.rank() * batch + i % batch);
    });
  }

  /// The block-wise stage, from the first block that is not fitted yet.
  void fit() {
    const Tensor tokens = block_segments(std::min(recipe_.block.segments, train_.size()));
    const std::int64_t layers = source_.config().layers;
    const auto progress = observer_.progress("fit blocks", "blocks");
    try {
      fit_blocks(
          *teacher_, *student_, tokens, progress_.blocks, recipe_.block, recipe_.adam, group_,
          {.done =
               [&](std::int64_t layer, double error) {
                 progress_.blocks = layer + 1;
                 record({{"step", 0}, {"block", layer}, {"block_error", error}});
                 observer_.on_block(layer, error);
                 if (group_.any(save_is_due())) save();
               },
           .retry =
               [&](const std::string& reason, std::int64_t layer, double rate_scale) {
                 observer_.on_rollback(fmt::format("block {}: {}", layer, reason), 0, rate_scale);
               }},
          *progress, stop_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInterrupted) throw;
      save();
      throw_interrupted(fmt::format("{} of {} blocks", progress_.blocks, layers));
    }
  }

  std::vector<Tensor> micro_batches(SegmentOrder& order) const {
    std::vector<Tensor> batches;
    const std::int64_t together = recipe_.batch * group_.size();
    const std::int64_t first = steps() * sequences_per_step() + group_.rank() * recipe_.batch;
    for (std::int64_t i = 0; i < recipe_.accumulate; ++i) {
      batches.push_back(gather(train_, first + i * together, recipe_.batch,
                               [&](std::int64_t sample) { return order.at(sample); }));
    }
    return batches;
  }

  Evaluation evaluate() {
    const torch::NoGradGuard no_grad;
    Evaluation sum;
    std::int64_t predicted = 0;
    const auto progress = observer_.progress("evaluate", "segments");
    const std::int64_t together = recipe_.batch * group_.size();
    for (std::int64_t round = 0; round < held_out_.size(); round += together) {
      stop_if_asked();
      const std::int64_t first = round + group_.rank() * recipe_.batch;
      const std::int64_t count = std::min(recipe_.batch, held_out_.size() - first);
      if (count <= 0) continue;
      const Tensor tokens =
          gather(held_out_, first, count, [](std::int64_t position) { return position; });
      const LogitLoss loss =
          logit_loss(student_->forward(tokens, {}).hidden, student_->head(),
                     teacher_->forward(tokens, {}).hidden, teacher_->head(), tokens, {});
      const std::int64_t labels = count * (held_out_.length() - 1);
      sum.kl += loss.kl_per_token * static_cast<double>(tokens.numel());
      sum.cross_entropy += loss.ce_per_token * static_cast<double>(labels);
      sum.tokens += tokens.numel();
      predicted += labels;
      progress->update(static_cast<std::uint64_t>(first + count),
                       static_cast<std::uint64_t>(held_out_.size()), "");
    }
    const std::vector<double> sums =
        group_.sum({sum.kl, sum.cross_entropy, static_cast<double>(sum.tokens),
                    static_cast<double>(predicted)});
    sum.tokens = static_cast<std::int64_t>(sums[2]);
    if (sum.tokens == 0) return sum;
    sum.kl = sums[0] / sums[2];
    sum.cross_entropy = sums[1] / sums[3];
    record({{"step", steps()},
            {"held_out_kl", sum.kl},
            {"held_out_cross_entropy", sum.cross_entropy},
            {"held_out_tokens", sum.tokens}});
    observer_.on_evaluation(steps(), sum);
    return sum;
  }

  void save() {
    save_state(state_path(), distiller_.optimizer(), progress_, identity_);
    if (group_.is_first()) {
      nn::save_packed(*student_, source_, folder_ / "model.gguf", options_.pack);
    }
    observer_.on_save(steps());
    saved_ = Clock::now();
    if (steps() > saved_step_) rollbacks_ = 0;
    saved_step_ = steps();
  }

  bool save_is_due() const {
    return Clock::now() - saved_ >= std::chrono::duration<double>(kSaveSeconds);
  }

  const arch::Checkpoint& source_;
  const Recipe& recipe_;
  const TokenSegments& train_;
  const TokenSegments& held_out_;
  const std::filesystem::path& folder_;
  TrainOptions options_;
  ProcessGroup& group_;
  TrainObserver& observer_;
  std::stop_token stop_;
  RunIdentity identity_;
  std::unique_ptr<nn::DecoderModel> teacher_;
  std::unique_ptr<nn::DecoderModel> student_;
  Distiller distiller_;
  RunProgress progress_;
  std::optional<MetricsFile> metrics_;
  std::int64_t saved_step_ = 0;  ///< of the last checkpoint
  int rollbacks_ = 0;            ///< to it
  Clock::time_point saved_ = Clock::now();
};

}  // namespace

void require_teacher(const arch::Checkpoint& teacher, const Recipe& recipe) {
  if (teacher.provenance()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: found a model already quantised by method '{}', expected a "
                            "full-precision teacher",
                            teacher.path().string(), teacher.provenance()->method));
  }
  if (recipe.length > teacher.config().context) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: length of a sequence: found {} tokens, expected at most {}, the "
                            "model's context",
                            teacher.path().string(), recipe.length, teacher.config().context));
  }
}

TrainResult train(const arch::Checkpoint& teacher, const Recipe& recipe, const TokenSegments& train,
                  const TokenSegments& held_out, const std::filesystem::path& folder,
                  const TrainOptions& options, ProcessGroup& group, TrainObserver& observer,
                  std::stop_token stop) {
  ONEBIT_CHECK(train.length() == recipe.length && train.size() > 0);
  require_teacher(teacher, recipe);
  return Run(teacher, recipe, train, held_out, folder, options, group, observer, std::move(stop))();
}

}  // namespace onebit::distill
