#include "distill/block_stage.h"

#include <algorithm>
#include <fmt/format.h>
#include <torch/utils.h>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "distill/losses.h"
#include "distill/schedule.h"

namespace onebit::distill {
namespace {

using torch::Tensor;

/// Sequences that go through a block at a time where no gradient is needed.
constexpr std::int64_t kForwardBatch = 4;

/// The states after block `layer` of the states before it, [N, T, D].
Tensor advance(nn::DecoderModel& model, std::int64_t layer, const Tensor& states) {
  const torch::NoGradGuard no_grad;
  Tensor after = torch::empty_like(states);
  for (std::int64_t i = 0; i < states.size(0); i += kForwardBatch) {
    const std::int64_t count = std::min(kForwardBatch, states.size(0) - i);
    after.narrow(0, i, count).copy_(model.forward_block(layer, states.narrow(0, i, count)));
  }
  return after;
}

/// Trains one block; the mean loss over the last quarter of its steps.
double fit_once(nn::DecoderModel& student, std::int64_t layer, const Tensor& input,
                const Tensor& target, const BlockStageOptions& options, const AdamOptions& adam,
                ProcessGroup& group, double rate_scale) {
  AdamOptions own = adam;
  own.scale_rate = options.scale_rate;
  Adam optimizer(student.block_parameters(layer), own, group);
  const Schedule schedule{.peak = options.learning_rate * rate_scale, .total = options.steps};
  const std::int64_t count = input.size(0);
  const Tensor batch = torch::arange(std::min(options.batch, count));
  const std::int64_t tail = std::max<std::int64_t>(1, options.steps / 4);
  double sum = 0;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const Tensor turn = batch.add(step * batch.size(0)).remainder_(count);
    const Tensor loss = relative_error(student.forward_block(layer, input.index_select(0, turn)),
                                       target.index_select(0, turn));
    loss.backward();
    optimizer.step(schedule.at(step));
    if (step >= options.steps - tail) sum += loss.item<double>();
  }
  return group.sum({sum})[0] / static_cast<double>(tail * group.size());
}

/// The same, from the block's start and with half the rate each time that it goes wrong.
double fit_block(nn::DecoderModel& student, std::int64_t layer, const Tensor& input,
                 const Tensor& target, const BlockStageOptions& options, const AdamOptions& adam,
                 ProcessGroup& group, const BlockStageEvents& events) {
  const std::vector<nn::Parameter> parameters = student.block_parameters(layer);
  std::vector<Tensor> start;
  for (const nn::Parameter& p : parameters) start.push_back(p.value.detach().clone());
  double rate_scale = 1;
  for (int retry = 0;; ++retry) {
    try {
      return fit_once(student, layer, input, target, options, adam, group, rate_scale);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNumeric) throw;
      if (retry == kMaxBlockRetries) {
        throw Error(ErrorCode::kNumeric,
                    fmt::format("block {}: {}, also after {} tries at half the rate each", layer,
                                error.what(), kMaxBlockRetries));
      }
      rate_scale /= 2;
      events.retry(error.what(), layer, rate_scale);
    }
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < start.size(); ++i) Tensor(parameters[i].value).copy_(start[i]);
  }
}

}  // namespace

void fit_blocks(nn::DecoderModel& teacher, nn::DecoderModel& student, const Tensor& tokens,
                std::int64_t first, const BlockStageOptions& options, const AdamOptions& adam,
                ProcessGroup& group, const BlockStageEvents& events, Progress& progress,
                const std::stop_token& stop) {
  const std::int64_t layers = student.config().layers;
  ONEBIT_CHECK(teacher.config().layers == layers && options.steps > 0 && options.batch > 0);
  ONEBIT_CHECK(first >= 0 && first <= layers && tokens.dim() == 2 && tokens.size(0) > 0);
  Tensor given = student.embed(tokens);
  Tensor wanted = teacher.embed(tokens);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    wanted = advance(teacher, layer, wanted);
    if (layer >= first) {
      if (group.any(stop.stop_requested())) {
        throw Error(ErrorCode::kInterrupted,
                    fmt::format("interrupted after {} of {} blocks", layer, layers));
      }
      const double loss = fit_block(student, layer, given, wanted, options, adam, group, events);
      events.done(layer, loss);
      progress.update(static_cast<std::uint64_t>(layer + 1), static_cast<std::uint64_t>(layers),
                      fmt::format("error {:.3f}", loss));
    }
    given = advance(student, layer, given);
  }
}

}  // namespace onebit::distill
