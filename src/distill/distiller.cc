#include "distill/distiller.h"

#include <cmath>
#include <fmt/format.h>
#include <torch/utils.h>

#include "base/check.h"
#include "base/error.h"

namespace onebit::distill {

using torch::Tensor;

Distiller::Distiller(nn::DecoderModel* teacher, nn::DecoderModel& student, LossOptions loss,
                     AdamOptions adam, ProcessGroup& group)
    : teacher_(teacher), student_(student), loss_(loss), adam_(student.parameters(), adam, group) {
  if (teacher == nullptr) {
    ONEBIT_CHECK(!loss.uses_teacher());
    return;
  }
  ONEBIT_CHECK(teacher->compute() == student.compute());
  ONEBIT_CHECK(teacher->config().vocab == student.config().vocab &&
               teacher->config().dim == student.config().dim &&
               teacher->config().layers == student.config().layers);
}

StepMetrics Distiller::accumulate(const Tensor& tokens, double weight) {
  const nn::ForwardOptions keep{loss_.beta != 0, loss_.gamma != 0};
  nn::DecoderOutput target;
  if (teacher_ != nullptr) {
    const torch::NoGradGuard no_grad;
    target = teacher_->forward(tokens, keep);
  }
  const nn::DecoderOutput output = student_.forward(tokens, keep);

  const LogitLoss logit =
      logit_loss(output.hidden, student_.head(), target.hidden,
                 teacher_ != nullptr ? teacher_->head() : Tensor(), tokens, loss_.logit);
  StepMetrics metrics;
  metrics.kl_per_token = logit.kl_per_token;
  metrics.ce_per_token = logit.ce_per_token;
  Tensor total = logit.loss;
  if (loss_.beta != 0) {
    const std::size_t count = output.states.size() - (loss_.hidden_last ? 0 : 1);
    const Tensor term = hidden_loss(output.states, target.states, count);
    metrics.hidden = term.item<double>();
    total = total + loss_.beta * term;
  }
  if (loss_.gamma != 0) {
    const Tensor term = attention_loss(output.attention, target.attention);
    metrics.attention = term.item<double>();
    total = total + loss_.gamma * term;
  }
  metrics.loss = total.item<double>();
  (total * weight).backward();
  return metrics;
}

StepMetrics Distiller::step(std::span<const Tensor> micro_batches, double learning_rate) {
  ONEBIT_CHECK(!micro_batches.empty());
  const double weight = 1.0 / static_cast<double>(micro_batches.size());
  StepMetrics mean;
  for (const Tensor& tokens : micro_batches) {
    const StepMetrics one = accumulate(tokens, weight);
    mean.loss += weight * one.loss;
    mean.kl_per_token += weight * one.kl_per_token;
    mean.ce_per_token += weight * one.ce_per_token;
    mean.hidden += weight * one.hidden;
    mean.attention += weight * one.attention;
  }
  if (adam_.group().any(!std::isfinite(mean.loss))) {
    adam_.drop_gradients();
    throw Error(ErrorCode::kNumeric,
                fmt::format("step {}: the loss is {}, expected a finite number", adam_.steps() + 1,
                            mean.loss));
  }
  mean.grad_norm = adam_.step(learning_rate);
  const double processes = adam_.group().size();
  const std::vector<double> sums = adam_.group().sum(
      {mean.loss, mean.kl_per_token, mean.ce_per_token, mean.hidden, mean.attention});
  mean.loss = sums[0] / processes;
  mean.kl_per_token = sums[1] / processes;
  mean.ce_per_token = sums[2] / processes;
  mean.hidden = sums[3] / processes;
  mean.attention = sums[4] / processes;
  return mean;
}

}  // namespace onebit::distill
