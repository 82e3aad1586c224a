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

/// Takes states [N, T, D] through a model's block, in place.
void advance(nn::DecoderModel& model, std::int64_t layer, const Tensor& states) {
  const torch::NoGradGuard no_grad;
  for (std::int64_t i = 0; i < states.size(0); i += kForwardBatch) {
    const std::int64_t count = std::min(kForwardBatch, states.size(0) - i);
    Tensor part = states.narrow(0, i, count);
    part.copy_(model.forward_block(layer, part));
  }
}

void advance(nn::DecoderModel& model, std::int64_t layer, BlockStream::Through through,
             std::span<BlockStream> streams) {
  for (const BlockStream& stream : streams) {
    if (stream.through == through) advance(model, layer, stream.states);
  }
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
  const Tensor batch =
      torch::arange(std::min(options.batch, count), input.options().dtype(torch::kInt64));
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

/// The mean loss of a block in which nothing is trained.
double loss_of(nn::DecoderModel& student, std::int64_t layer, const Tensor& input,
               const Tensor& target, ProcessGroup& group) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  for (std::int64_t i = 0; i < input.size(0); ++i) {
    sum +=
        relative_error(student.forward_block(layer, input.narrow(0, i, 1)), target.narrow(0, i, 1))
            .item<double>();
  }
  return group.sum({sum / static_cast<double>(input.size(0))})[0] / group.size();
}

/// fit_once(), from the block's start and with half the rate each time that it goes wrong.
double fit_block(nn::DecoderModel& student, std::int64_t layer, const Tensor& input,
                 const Tensor& target, const BlockStageOptions& options, const AdamOptions& adam,
                 ProcessGroup& group, BlockStore& store) {
  const std::vector<nn::Parameter> parameters = student.block_parameters(layer);
  if (parameters.empty()) return loss_of(student, layer, input, target, group);
  std::vector<Tensor> start;
  start.reserve(parameters.size());
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
      store.on_retry(layer, error.what(), rate_scale);
    }
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < start.size(); ++i) Tensor(parameters[i].value).copy_(start[i]);
  }
}

}  // namespace

void fit_blocks(BlockStore& store, const BlockStates& states, std::span<BlockStream> streams,
                const BlockStageOptions& options, const AdamOptions& adam, ProcessGroup& group,
                Progress& progress, const std::stop_token& stop) {
  using Through = BlockStream::Through;
  const std::int64_t layers = store.layers();
  ONEBIT_CHECK(options.steps > 0 && options.batch > 0);
  const auto& [given, wanted] = states;
  ONEBIT_CHECK(given.dim() == 3 && given.size(0) > 0 && given.sizes() == wanted.sizes() &&
               given.const_data_ptr() != wanted.const_data_ptr());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (group.any(stop.stop_requested())) {
      throw Error(ErrorCode::kInterrupted, fmt::format("{} of {} blocks", layer, layers));
    }
    const BlockPair block = store.load(layer);
    advance(*block.teacher, layer, wanted);
    advance(*block.teacher, layer, Through::kTeacher, streams);
    advance(*block.student, layer, Through::kStart, streams);
    if (!store.restore(layer, *block.student)) {
      const double loss =
          fit_block(*block.student, layer, given, wanted, options, adam, group, store);
      store.keep(layer, *block.student, loss);
      progress.update(static_cast<std::uint64_t>(layer + 1), static_cast<std::uint64_t>(layers),
                      fmt::format("error {:.3f}", loss));
    }
    advance(*block.student, layer, given);
    advance(*block.student, layer, Through::kFitted, streams);
  }
}

}  // namespace onebit::distill
