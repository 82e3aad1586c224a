// One optimiser step of knowledge distillation: teacher forward, student forward and backward over
// one or more micro-batches, update. Knows nothing of data, files or how long a run is.
#pragma once

#include <span>
#include <torch/types.h>

#include "distill/losses.h"
#include "distill/optimizer.h"
#include "nn/decoder.h"

namespace onebit::distill {

struct LossOptions {
  LogitLossOptions logit = {};  ///< α and the scale of the logit term
  double beta = 1.0;            ///< weight of the hidden-state term; 0 leaves it out
  double gamma = 0.0;           ///< weight of the attention term; 0 leaves it out
  bool hidden_last = false;  ///< also supervise the last block's output, which the reference omits

  bool uses_teacher() const { return logit.alpha != 0 || beta != 0 || gamma != 0; }
};

/// Means over the micro-batches of a step, of all processes.
struct StepMetrics {
  double loss = 0;          ///< what was minimised
  double kl_per_token = 0;  ///< nats
  double ce_per_token = 0;  ///< nats
  double hidden = 0;        ///< unweighted hidden-state term, 0 when left out
  double attention = 0;     ///< unweighted attention term, 0 when left out
  double grad_norm = 0;     ///< before clipping
};

class Distiller {
 public:
  /// Models and group outlive the object; the models agree in sizes and compute type. No teacher
  /// (null) where the loss uses none.
  Distiller(nn::DecoderModel* teacher, nn::DecoderModel& student, LossOptions loss,
            AdamOptions adam, ProcessGroup& group = single_process());

  /// Forward and backward of one micro-batch (int64 [B, T]); gradients of weight · loss are added
  /// to what the parameters hold.
  StepMetrics accumulate(const torch::Tensor& tokens, double weight);

  /// accumulate() over all micro-batches with weight 1/n, then one update from the average over the
  /// group's processes, each of which has micro-batches of its own; so are the metrics. Throws
  /// Error{kNumeric} when the loss or the gradient is not finite; the weights are then as before.
  StepMetrics step(std::span<const torch::Tensor> micro_batches, double learning_rate);

  Adam& optimizer() noexcept { return adam_; }
  const Adam& optimizer() const noexcept { return adam_; }

 private:
  nn::DecoderModel* teacher_;
  nn::DecoderModel& student_;
  LossOptions loss_;
  Adam adam_;
};

}  // namespace onebit::distill
