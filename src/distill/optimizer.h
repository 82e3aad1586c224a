// AdamW as the reference implementation trains with it: decoupled weight decay on every trainable
// tensor (latent weights, g and h alike) and the gradient clipped by its global norm.
#pragma once

#include <cstdint>
#include <torch/types.h>
#include <vector>

#include "nn/linear.h"

namespace onebit::distill {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_scales = true;    ///< weight decay on g and h too, as the reference has it
  double max_grad_norm = 1.0;  ///< 0: no clipping
  double scale_rate = 1.0;     ///< learning rate of g and h as a multiple of the latent weights'
};

class AdamW {
 public:
  AdamW(std::vector<nn::Parameter> parameters, AdamOptions options);

  /// One update from the parameters' gradients, which are consumed (freed). With n the global L2
  /// norm of the gradient, it is scaled by min(1, max_grad_norm / (n + 1e-6)). Returns n. A
  /// parameter without gradient is left alone. Throws Error{kNumeric} and changes nothing when n is
  /// not finite.
  double step(double learning_rate);

  std::int64_t steps() const noexcept { return steps_; }
  void set_steps(std::int64_t steps) noexcept { steps_ = steps; }

  /// Parameters and their moments, index by index, for saving and restoring in place.
  const std::vector<nn::Parameter>& parameters() const noexcept { return parameters_; }
  const std::vector<torch::Tensor>& first_moments() const noexcept { return first_; }
  const std::vector<torch::Tensor>& second_moments() const noexcept { return second_; }

 private:
  std::vector<nn::Parameter> parameters_;
  AdamOptions options_;
  std::vector<torch::Tensor> first_;
  std::vector<torch::Tensor> second_;
  std::int64_t steps_ = 0;
};

}  // namespace onebit::distill
