// The block-wise stage of a run: blocks come from the teacher's files one at a time, and what is
// fitted goes to one file each, which a resumed run and the stage that follows read.
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <torch/utils.h>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/scratch_file.h"
#include "distill/run_parts.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using torch::Tensor;
using Through = BlockStream::Through;

/// Blocks of a run's folder.
class BlockFiles final : public BlockStore {
 public:
  /// The first `fitted` blocks have their files. `needs_starts`: the start of every block is
  /// wanted, also of those that restore() makes what they have become.
  BlockFiles(const TrainJob& job, Record& record, std::int64_t fitted, bool needs_starts)
      : job_(job),
        record_(record),
        identity_(identity_of(job)),
        pool_(job.options.threads),
        fitted_(fitted),
        needs_starts_(needs_starts) {}

  std::int64_t layers() const override { return job_.teacher.config().layers; }

  BlockPair load(std::int64_t layer) override {
    BlockPair pair;
    pair.teacher = nn::load_block(job_.teacher, {job_.recipe.compute, job_.options.device}, layer);
    Recipe recipe = job_.recipe;
    // At once, where saved values fill it in.
    if (layer < fitted_ && !needs_starts_) recipe.svid.init = quant::Init::kCopy;
    pair.student = first_student(job_, recipe, pair.teacher->frozen(), pool_, {}, {layer, 1});
    return pair;
  }

  bool restore(std::int64_t layer, nn::DecoderModel& student) override {
    if (layer >= fitted_) return false;
    load_block(block_file(job_.folder, layer), student.block_parameters(layer), identity_,
               job_.group.size());
    return true;
  }

  void keep(std::int64_t layer, const nn::DecoderModel& student, double loss) override {
    if (job_.group.is_first()) {
      save_block(block_file(job_.folder, layer), student.block_parameters(layer), identity_,
                 job_.group.size());
    }
    record_.add({{"step", 0}, {"block", layer}, {"block_error", loss}});
    job_.observer.on_block(layer, loss);
  }

  void on_retry(std::int64_t layer, const std::string& reason, double rate_scale) override {
    job_.observer.on_rollback(fmt::format("block {}: {}", layer, reason), 0, rate_scale);
  }

 private:
  const TrainJob& job_;
  Record& record_;
  RunIdentity identity_;
  ThreadPool pool_;
  std::int64_t fitted_;
  bool needs_starts_;
};

/// This process's part of the stage's sequences: of the `block.batch` · size samples of a step its
/// own `block.batch`. All of them where there are fewer than that.
Tensor own_segments(const TrainJob& job) {
  // Another order than the steps': with little data both see all of it, with much each sees other
  // parts.
  SegmentOrder order(job.train.size(), ~job.recipe.seed);
  const std::int64_t count = std::min(job.recipe.block.segments, job.train.size());
  const std::int64_t batch = job.recipe.block.batch;
  const std::int64_t together = batch * job.group.size();
  const bool shared = job.group.size() > 1 && count >= together;
  return gather(
      job.train, shared ? count / together * batch : count, job.options.device,
      [&](std::int64_t i) {
        return order.at(shared ? i / batch * together + job.group.rank() * batch + i % batch : i);
      });
}

/// What both models do before and after their blocks.
class Ends {
 public:
  explicit Ends(const TrainJob& job)
      : teacher_(nn::load_ends(job.teacher, {job.recipe.compute, job.options.device})) {
    if (job.start == nullptr) return;  // the student begins with the teacher's
    ThreadPool pool(1);
    student_ = first_student(job, job.recipe, teacher_->frozen(), pool, {}, {0, 0});
  }

  nn::DecoderModel& teacher() const { return *teacher_; }
  nn::DecoderModel& student() const { return student_ ? *student_ : *teacher_; }
  nn::DecoderModel& of(Through through) const {
    return through == Through::kTeacher ? teacher() : student();
  }

 private:
  std::unique_ptr<nn::DecoderModel> teacher_;
  std::unique_ptr<nn::DecoderModel> student_;  ///< null where they are the teacher's
};

/// Embeddings of `tokens` [N, T], [N, T, D]. On a CPU they are in a file without a name in the
/// run's folder: of a large model they are most of what the stage has, and the system may write
/// them out.
Tensor embedded(const TrainJob& job, const nn::DecoderModel& ends, const Tensor& tokens) {
  constexpr std::int64_t kTogether = 4;
  const torch::NoGradGuard no_grad;
  const std::int64_t sizes[] = {tokens.size(0), tokens.size(1), job.teacher.config().dim};
  const torch::TensorOptions options = ends.frozen().embedding.options();
  Tensor states;
  if (job.options.device.is_cpu()) {
    const auto bytes =
        static_cast<std::size_t>(sizes[0] * sizes[1] * sizes[2]) * options.dtype().itemsize();
    auto file = std::make_shared<ScratchFile>(job.folder, bytes);
    std::byte* data = file->data();
    states = torch::from_blob(
        data, sizes, [file](void*) {}, options);
  } else {
    states = torch::empty(sizes, options);
  }
  for (std::int64_t i = 0; i < tokens.size(0); i += kTogether) {
    const std::int64_t count = std::min(kTogether, tokens.size(0) - i);
    states.narrow(0, i, count).copy_(ends.embed(tokens.narrow(0, i, count)));
  }
  return states;
}

/// The held-out text's streams through the teacher, the student's start and, if wanted, the fitted
/// student.
class Followers {
 public:
  Followers(const TrainJob& job, const Ends& ends, bool fitted) : job_(job), ends_(ends) {
    const HeldOut held_out(job);
    for (std::int64_t round = 0; round < held_out.rounds(); ++round) {
      const Tensor tokens = held_out.tokens(round);
      if (tokens.defined()) tokens_.push_back(tokens);
    }
    for (const Through through : {Through::kTeacher, Through::kStart, Through::kFitted}) {
      if (tokens_.empty() || (through == Through::kFitted && !fitted)) continue;
      streams_.push_back({through, embedded(job, ends.of(through), torch::cat(tokens_))});
    }
  }

  std::span<BlockStream> streams() { return streams_; }

  /// How the student of a kind does, once all blocks are done.
  Evaluation evaluate(Through through) const {
    const torch::NoGradGuard no_grad;
    EvaluationSum sum;
    std::int64_t first = 0;
    for (const Tensor& tokens : tokens_) {
      const auto hidden = [&](Through kind) {
        return ends_.of(kind).finish(states(kind).narrow(0, first, tokens.size(0)));
      };
      sum.add(logit_loss(hidden(through), ends_.of(through).head(), hidden(Through::kTeacher),
                         ends_.teacher().head(), tokens, {}),
              tokens);
      first += tokens.size(0);
    }
    return sum.total(job_.group);
  }

 private:
  const Tensor& states(Through through) const {
    const auto found =
        std::find_if(streams_.begin(), streams_.end(),
                     [&](const BlockStream& stream) { return stream.through == through; });
    ONEBIT_CHECK(found != streams_.end());
    return found->states;
  }

  const TrainJob& job_;
  const Ends& ends_;
  std::vector<Tensor> tokens_;
  std::vector<BlockStream> streams_;
};

void pack_blocks(const TrainJob& job, BlockFiles& files, const nn::DecoderModel& ends) {
  BlockPair block;
  nn::save_packed(
      ends,
      [&](std::int64_t layer) -> const nn::DecoderModel& {
        block = files.load(layer);
        files.restore(layer, *block.student);
        return *block.student;
      },
      job.teacher, job.folder / "model.gguf", packing_of(job));
}

}  // namespace

TrainResult run_block_stage(const TrainJob& job, Record& record, bool pack) {
  const std::int64_t layers = job.teacher.config().layers;
  const auto saved = [&] {
    return static_cast<std::int64_t>(
        job.group.of_first(static_cast<std::uint64_t>(blocks_saved(job.folder))));
  };
  const std::int64_t fitted = job.options.resume ? saved() : 0;
  if (job.options.resume) {
    record.resume_blocks(fitted);
  } else {
    record.begin();
  }
  TrainResult result;
  const Ends ends(job);
  Followers followers(job, ends, pack);
  {
    BlockFiles files(job, record, fitted, /*needs_starts=*/!followers.streams().empty());
    const auto progress = job.observer.progress("fit blocks", "blocks");
    try {
      const Tensor segments = own_segments(job);
      const BlockStates states = {embedded(job, ends.student(), segments),
                                  embedded(job, ends.teacher(), segments)};
      fit_blocks(files, states, followers.streams(), job.recipe.block, job.recipe.adam, job.group,
                 *progress, job.stop);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInterrupted) throw;
      if (saved() == 0) {
        throw Error(ErrorCode::kInterrupted,
                    "interrupted before the first block was fitted; nothing saved");
      }
      throw_interrupted(job, fmt::format("after {}", error.what()));
    }
  }
  result.start = followers.evaluate(Through::kStart);
  record.add({{"blocks", 0}}, 0, result.start);
  if (!pack) return result;
  result.end = followers.evaluate(Through::kFitted);
  record.add({{"blocks", layers}}, 0, result.end);
  BlockFiles files(job, record, layers, /*needs_starts=*/false);
  if (job.group.is_first()) pack_blocks(job, files, ends.student());
  job.observer.on_save(0);
  return result;
}

}  // namespace onebit::distill
