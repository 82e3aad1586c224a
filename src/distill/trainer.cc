#include "distill/trainer.h"

#include <chrono>
#include <fmt/format.h>
#include <string>
#include <torch/utils.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "distill/mixture.h"
#include "distill/run_parts.h"
#include "distill/student_method.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using torch::Tensor;
using Clock = std::chrono::steady_clock;

/// The end-to-end stage.
class Run {
 public:
  Run(const TrainJob& job, Record& record)
      : job_(job),
        recipe_(job.recipe),
        options_(job.options),
        group_(job.group),
        record_(record),
        identity_(identity_of(job)),
        pack_(packing_of(job)),
        resumes_(job.options.resume && std::filesystem::exists(state_path())),
        teacher_(load_teacher()),
        student_(make_student()),
        distiller_(recipe_.loss.uses_teacher() ? teacher_.get() : nullptr, *student_, recipe_.loss,
                   recipe_.adam, job.group) {
    if (resumes_) {
      rate_scale_ = load_state(state_path(), distiller_.optimizer(), identity_);
    } else {
      if (has_blocks()) load_blocks();
      share_start();
    }
    saved_step_ = steps();
  }

  /// After a block-wise stage the record goes on.
  TrainResult operator()() {
    if (resumes_) {
      record_.resume_steps(steps());
    } else if (!has_blocks()) {
      record_.begin();
    }
    TrainResult result;
    result.start = evaluate();
    if (!resumes_) {
      save();  // what a first step that goes wrong returns to
      drop_blocks();
    }
    run_steps(result);
    save();
    result.end = evaluate();
    return result;
  }

 private:
  void run_steps(TrainResult& result) {
    const Schedule schedule = recipe_.schedule();
    const auto progress = job_.observer.progress("distill", "steps");
    SegmentOrder order(job_.train.size(), recipe_.seed);
    while (steps() < recipe_.steps) {
      const auto begin = Clock::now();
      const double rate = rate_scale_ * schedule.at(steps());
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
      add_row({{"step", steps()},
               {"loss", step.loss},
               {"cross_entropy", step.ce_per_token},
               {"grad_norm", step.grad_norm},
               {"lr", rate},
               {"tokens_per_second", static_cast<double>(tokens) / seconds.count()}},
              step);
      job_.observer.on_step(steps(), step);
      progress->update(static_cast<std::uint64_t>(steps()),
                       static_cast<std::uint64_t>(recipe_.steps), text_of(step));
      const bool last = steps() == recipe_.steps;
      if (last) break;
      stop_if_asked();
      if (steps() % options_.save_every == 0 || group_.any(save_is_due())) save();
      if (options_.eval_every > 0 && steps() % options_.eval_every == 0) evaluate();
    }
  }

  /// A step's row, with what a teacher gives where there is one.
  void add_row(nlohmann::ordered_json row, const StepMetrics& step) {
    if (recipe_.loss.uses_teacher()) {
      row["kl"] = step.kl_per_token;
      row["hidden"] = step.hidden;
      row["attention"] = step.attention;
    }
    record_.add(std::move(row));
  }

  /// The terms that take part.
  std::string text_of(const StepMetrics& step) const {
    if (!recipe_.loss.uses_teacher()) return fmt::format("CE {:.3f}", step.ce_per_token);
    std::string text = fmt::format("KL {:.3f}", step.kl_per_token);
    if (recipe_.loss.logit.alpha < 1) text += fmt::format(", CE {:.3f}", step.ce_per_token);
    if (recipe_.loss.beta != 0) text += fmt::format(", hidden {:.3f}", step.hidden);
    if (recipe_.loss.gamma != 0) text += fmt::format(", attention {:.3f}", step.attention);
    return text;
  }

  /// To the last checkpoint, with half the rate, unless that has been tried enough.
  void roll_back(const Error& error) {
    const double rate_scale = rate_scale_ / 2;
    if (++rollbacks_ > kMaxRollbacks) {
      throw Error(ErrorCode::kNumeric,
                  fmt::format("{}, also after {} returns to step {} at half the rate each",
                              error.what(), kMaxRollbacks, saved_step_));
    }
    load_state(state_path(), distiller_.optimizer(), identity_);
    rate_scale_ = rate_scale;
    record_.return_to(steps());
    record_.add({{"step", steps()}, {"rolled_back", error.what()}, {"rate_scale", rate_scale}});
    job_.observer.on_rollback(error.what(), steps(), rate_scale);
  }

  /// Every process computes the start by itself; on unlike machines the last bits may differ.
  void share_start() {
    std::vector<OwnedTensor> all;
    for (const nn::Parameter& p : distiller_.optimizer().parameters()) all.push_back({p.value, 0});
    group_.share(all);
  }

  std::int64_t steps() const { return distiller_.optimizer().steps(); }
  std::int64_t layers() const { return job_.teacher.config().layers; }
  std::int64_t sequences_per_step() const { return recipe_.sequences_per_step() * group_.size(); }
  std::filesystem::path state_path() const { return state_file(job_.folder); }
  bool has_blocks() const { return recipe_.block.steps > 0; }

  /// Null where it has nothing to teach.
  std::unique_ptr<nn::DecoderModel> load_teacher() const {
    if (job_.from_scratch) return nullptr;
    return nn::load_dense(job_.teacher, {job_.recipe.compute, job_.options.device});
  }

  std::unique_ptr<nn::DecoderModel> make_student() {
    Recipe recipe = recipe_;
    // At once, where saved values fill it in.
    if (resumes_ || has_blocks()) recipe.svid.init = quant::Init::kCopy;
    ThreadPool pool(options_.threads);
    const auto progress = job_.observer.progress("start", "layers");
    auto student = first_student(
        job_, recipe,
        teacher_ ? teacher_->frozen()
                 : nn::read_frozen(job_.teacher, {recipe.compute, options_.device}),
        pool,
        [&](const arch::TensorSpec& spec, std::int64_t layer) {
          if (job_.stop.stop_requested()) throw_not_begun();
          progress->update(static_cast<std::uint64_t>(layer), static_cast<std::uint64_t>(layers()),
                           arch::gguf_name(spec, layer));
        },
        {0, layers()});
    if (options_.gradient_checkpointing) student->recompute_blocks();
    return student;
  }

  /// What the block-wise stage has left.
  void load_blocks() {
    for (std::int64_t layer = 0; layer < layers(); ++layer) {
      load_block(block_file(job_.folder, layer), student_->block_parameters(layer), identity_,
                 group_.size());
    }
  }

  /// The first checkpoint holds them now.
  void drop_blocks() const {
    if (group_.is_first()) std::filesystem::remove_all(block_file(job_.folder, 0).parent_path());
  }

  /// Saves and throws when any process is asked to stop.
  void stop_if_asked() {
    if (!group_.any(job_.stop.stop_requested())) return;
    save();
    drop_blocks();
    throw_interrupted(job_, fmt::format("after step {} of {}", steps(), recipe_.steps));
  }

  /// Of a run that is stopped before this process has taken it on.
  [[noreturn]] void throw_not_begun() const {
    if (resumes_) throw_interrupted(job_, "before another step");
    if (has_blocks()) throw_interrupted(job_, fmt::format("after {0} of {0} blocks", layers()));
    throw Error(ErrorCode::kInterrupted, "interrupted before the first step; nothing saved");
  }

  std::vector<Tensor> micro_batches(SegmentOrder& order) const {
    std::vector<Tensor> batches;
    const std::int64_t together = recipe_.batch * group_.size();
    const std::int64_t first = steps() * sequences_per_step() + group_.rank() * recipe_.batch;
    for (std::int64_t i = 0; i < recipe_.accumulate; ++i) {
      batches.push_back(gather(job_.train, recipe_.batch, options_.device, [&](std::int64_t row) {
        return order.at(first + i * together + row);
      }));
    }
    return batches;
  }

  Evaluation evaluate() {
    const torch::NoGradGuard no_grad;
    const HeldOut held_out(job_);
    EvaluationSum sum;
    const auto progress = job_.observer.progress("evaluate", "rounds");
    for (std::int64_t round = 0; round < held_out.rounds(); ++round) {
      stop_if_asked();
      const Tensor tokens = held_out.tokens(round);
      if (!tokens.defined()) continue;
      LogitLossOptions options;
      if (!teacher_) options.alpha = 0;
      sum.add(logit_loss(student_->forward(tokens, {}).hidden, student_->head(),
                         teacher_ ? teacher_->forward(tokens, {}).hidden : Tensor(),
                         teacher_ ? teacher_->head() : Tensor(), tokens, options),
              tokens);
      progress->update(static_cast<std::uint64_t>(round + 1),
                       static_cast<std::uint64_t>(held_out.rounds()), "");
    }
    Evaluation evaluation = sum.total(group_);
    evaluation.has_teacher = teacher_ != nullptr;
    record_.add({}, steps(), evaluation);
    return evaluation;
  }

  void save() {
    save_state(state_path(), distiller_.optimizer(), rate_scale_, identity_);
    if (group_.is_first()) {
      if (options_.keep > 0) keep_checkpoint(job_.folder, steps(), options_.keep);
      nn::save_packed(*student_, job_.teacher, job_.folder / "model.gguf", pack_);
    }
    job_.observer.on_save(steps());
    saved_ = Clock::now();
    if (steps() > saved_step_) rollbacks_ = 0;
    saved_step_ = steps();
  }

  bool save_is_due() const {
    return Clock::now() - saved_ >= std::chrono::duration<double>(kSaveSeconds);
  }

  const TrainJob& job_;
  const Recipe& recipe_;
  const TrainOptions& options_;
  ProcessGroup& group_;
  Record& record_;
  RunIdentity identity_;
  arch::PackOptions pack_;
  bool resumes_;
  std::unique_ptr<nn::DecoderModel> teacher_;
  std::unique_ptr<nn::DecoderModel> student_;
  Distiller distiller_;
  double rate_scale_ = 1;        ///< of the schedule's rates
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
  static_cast<void>(Mixture(recipe, teacher));  // what it cannot be it throws for
}

namespace {

/// How a file has a matrix, for messages.
std::string kind_of(const arch::Checkpoint& file, const arch::TensorId& id) {
  if (const auto dense = file.dense(id.role, id.layer)) {
    return fmt::format("values of type {}", formats::info(dense->view.dtype).name);
  }
  if (const auto codes = file.codes(id.role, id.layer)) {
    return fmt::format("codes of {} bits", codes->codes.bits);
  }
  if (const auto factors = file.low_rank(id.role, id.layer)) {
    return fmt::format("factors of rank {}", factors->rank());
  }
  return "a 1-bit matrix";
}

/// That `start` has every matrix that the recipe trains as its student has it.
void require_matrices(const arch::Checkpoint& start, const arch::Checkpoint& teacher,
                      const Recipe& recipe) {
  const Mixture mixture(recipe, teacher);
  arch::PackOptions expected;
  set_storage(recipe, teacher, expected);
  for (const arch::TensorId& id : arch::tensor_ids(teacher.config())) {
    const arch::TensorSpec& spec = *arch::find_tensor(*teacher.config().arch, id.role);
    if (!spec.linear || mixture.keeps(id)) continue;
    std::string should = "a 1-bit matrix";
    const auto factors = expected.low_rank.find(id);
    if (factors != expected.low_rank.end()) {
      should = fmt::format("factors of rank {}", factors->second.rank);
    }
    const std::string is = kind_of(start, id);
    if (is == should) continue;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: {}: found {}, expected {} (--override{})", start.path().string(),
                            arch::gguf_name(spec, id.layer), is, should,
                            factors == expected.low_rank.end() ? "" : ", --bits"));
  }
}

}  // namespace

void require_start(const arch::Checkpoint& start, const arch::Checkpoint& teacher,
                   const Recipe& recipe) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: {}", start.path().string(), what));
  };
  if (!start.provenance()) fail("found a full-precision model, expected a packed student");
  const arch::Provenance& packed = *start.provenance();
  const std::string methods = Mixture(recipe, teacher).method_names();
  if (packed.method != methods) {
    fail(fmt::format("found a student of method {}, expected one of {} (--method, --override)",
                     packed.method, methods));
  }
  if (recipe.method != StudentMethod::kOneBit) {
    if (recipe.method != StudentMethod::kLowRank) {
      fail(
          fmt::format("found a start of a student of method {}, expected none: files do not hold "
                      "the weights that it trains",
                      word_of(recipe.method)));
    }
  } else if (packed.form != recipe.form || packed.group_size != recipe.group_size) {
    fail(fmt::format("found a student of the form {} with groups of {}, expected {} with {}",
                     word_of(packed.form), packed.group_size, word_of(recipe.form),
                     recipe.group_size));
  }
  const arch::ModelConfig& found = start.config();
  const arch::ModelConfig& expected = teacher.config();
  const auto require = [&](const char* name, std::int64_t is, std::int64_t should) {
    if (is == should) return;
    fail(fmt::format("found {} {}, expected {} as in {}", is, name, should,
                     teacher.path().string()));
  };
  require("layers", found.layers, expected.layers);
  require("features", found.dim, expected.dim);
  require("heads", found.heads, expected.heads);
  require("key/value heads", found.kv_heads, expected.kv_heads);
  require("features a head", found.head_dim, expected.head_dim);
  require("features in the feed-forward layer", found.ffn, expected.ffn);
  require("tokens in the vocabulary", found.vocab, expected.vocab);
  require_matrices(start, teacher, recipe);
  require_untrained(teacher, start, recipe);
}

void require_types(const arch::Checkpoint& teacher, const Recipe& recipe,
                   const std::filesystem::path& folder, arch::PackOptions types) {
  set_storage(recipe, teacher, types);
  arch::PackedWriter(folder / "model.gguf", teacher, std::move(types));
}

TrainResult train(const TrainJob& job) {
  ONEBIT_CHECK(job.train.length() == job.recipe.length && job.train.size() > 0);
  ONEBIT_CHECK(job.recipe.steps > 0 || job.recipe.block.steps > 0);
  ONEBIT_CHECK(!job.from_scratch || (!job.recipe.loss.uses_teacher() &&
                                     job.recipe.block.steps == 0 && job.start == nullptr));
  require_teacher(job.teacher, job.recipe);
  if (job.start != nullptr) require_start(*job.start, job.teacher, job.recipe);
  Record record(job);
  const bool stage = job.recipe.block.steps > 0 &&
                     !(job.options.resume && std::filesystem::exists(state_file(job.folder)));
  TrainResult fitted;
  if (stage) fitted = run_block_stage(job, record, /*pack=*/job.recipe.steps == 0);
  if (job.recipe.steps == 0) return fitted;
  TrainResult result = Run(job, record)();
  if (stage) result.start = fitted.start;
  return result;
}

}  // namespace onebit::distill
