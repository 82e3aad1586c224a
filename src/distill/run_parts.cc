#include "distill/run_parts.h"

#include <fmt/format.h>
#include <utility>

#include "base/error.h"
#include "distill/student_method.h"

namespace onebit::distill {

using torch::Tensor;

Tensor gather(const TokenSegments& segments, std::int64_t count, torch::Device device,
              const std::function<std::int64_t(std::int64_t)>& at) {
  Tensor batch = torch::empty({count, segments.length()}, torch::kInt64);
  std::int64_t* out = batch.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    for (const text::TokenId id : segments[at(i)]) *out++ = id;
  }
  return batch.to(device);
}

std::unique_ptr<nn::DecoderModel> first_student(const TrainJob& job, const Recipe& recipe,
                                                const nn::FrozenWeights& frozen, ThreadPool& pool,
                                                const StartProgress& progress,
                                                nn::LayerRange range) {
  Recipe own = recipe;
  own.kept_scales = job.options.pack.scales;
  if (job.start == nullptr) {
    return start_student(job.teacher, frozen, own, pool, progress, range);
  }
  return packed_student(job.teacher, *job.start, frozen, own, range);
}

RunIdentity identity_of(const TrainJob& job) {
  return {.recipe = to_json(job.recipe).dump(),
          .teacher = job.teacher.identity(),
          .teacher_sha256 = job.teacher.sha256(),
          .data_sha256 = job.train.sha256(),
          .start_sha256 = job.start == nullptr ? "" : job.start->sha256()};
}

arch::PackOptions packing_of(const TrainJob& job) {
  arch::PackOptions options = job.options.pack;
  set_storage(job.recipe, job.teacher, options);
  return options;
}

void throw_interrupted(const TrainJob& job, const std::string& when) {
  throw Error(ErrorCode::kInterrupted, fmt::format("interrupted {}; saved in {}, --resume goes on",
                                                   when, job.folder.string()));
}

void Record::add(nlohmann::ordered_json row, std::int64_t step, const Evaluation& evaluation) {
  if (evaluation.tokens == 0) return;
  row["step"] = step;
  row["held_out_cross_entropy"] = evaluation.cross_entropy;
  if (evaluation.has_teacher) {
    row["held_out_kl"] = evaluation.kl;
    row["held_out_teacher_cross_entropy"] = evaluation.teacher_cross_entropy;
  }
  row["held_out_tokens"] = evaluation.tokens;
  add(std::move(row));
  job_.observer.on_evaluation(step, evaluation);
}

std::int64_t HeldOut::rounds() const {
  const std::int64_t together = job_.recipe.batch * job_.group.size();
  return (job_.held_out.size() + together - 1) / together;
}

Tensor HeldOut::tokens(std::int64_t round) const {
  const std::int64_t batch = job_.recipe.batch;
  const std::int64_t first = (round * job_.group.size() + job_.group.rank()) * batch;
  const std::int64_t count = std::min(batch, job_.held_out.size() - first);
  if (count <= 0) return {};
  return gather(job_.held_out, count, job_.options.device,
                [&](std::int64_t i) { return first + i; });
}

void EvaluationSum::add(const LogitLoss& loss, const Tensor& tokens) {
  const auto count = static_cast<double>(tokens.numel());
  const auto labels = static_cast<double>(tokens.size(0) * (tokens.size(1) - 1));
  kl_ += loss.kl_per_token * count;
  cross_entropy_ += loss.ce_per_token * labels;
  teacher_cross_entropy_ += loss.teacher_ce_per_token * labels;
  tokens_ += count;
  predicted_ += labels;
}

Evaluation EvaluationSum::total(ProcessGroup& group) const {
  const std::vector<double> sums =
      group.sum({kl_, cross_entropy_, teacher_cross_entropy_, tokens_, predicted_});
  const double tokens = sums[3];
  const double predicted = sums[4];
  if (tokens == 0) return {};
  return {sums[0] / tokens, sums[1] / predicted, sums[2] / predicted,
          static_cast<std::int64_t>(tokens)};
}

}  // namespace onebit::distill
