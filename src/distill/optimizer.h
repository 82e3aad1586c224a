// Adam and AdamW. The reference implementation trains with AdamW: decoupled weight decay on every
// trainable tensor (latent weights, g and h alike) and the gradient clipped by its global norm.
//
// With several processes the moments are sharded (ZeRO stage 1: Rajbhandari et al., arXiv
// 1910.02054): each parameter has an owner, which alone holds its moments and updates it.
#pragma once

#include <cstdint>
#include <torch/types.h>
#include <vector>

#include "base/words.h"
#include "distill/process_group.h"
#include "nn/linear.h"

namespace onebit::distill {

/// Where weight decay acts.
enum class Decoupling : std::uint8_t {
  kAdamW,  ///< beside Adam's step: w ← w − rate·decay·w (Loshchilov and Hutter, arXiv 1711.05101)
  kAdam,  ///< through the gradient, as an L2 penalty: grad ← grad + decay·w
};

struct AdamOptions {
  Decoupling kind = Decoupling::kAdamW;
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_scales = true;    ///< weight decay on scales and norms too, as the reference has it
  double max_grad_norm = 1.0;  ///< 0: no clipping
  double scale_rate = 1.0;     ///< rate of scales and norms as a multiple of the latent weights'
};

class Adam {
 public:
  /// `group` outlives the object; its processes have the same parameters.
  Adam(std::vector<nn::Parameter> parameters, AdamOptions options,
       ProcessGroup& group = single_process());

  /// One update from the parameters' gradients, averaged over the group's processes, which are
  /// consumed (freed). With n the global L2 norm of the average, it is scaled by
  /// min(1, max_grad_norm / (n + 1e-6)). Returns n. A parameter without gradient is left alone, by
  /// all processes alike. Throws Error{kNumeric} when n is not finite, in all processes; only the
  /// gradients are gone then. Throws Error{kResource} as ProcessGroup.
  double step(double learning_rate);

  std::int64_t steps() const noexcept { return steps_; }
  void set_steps(std::int64_t steps) noexcept { steps_ = steps; }

  /// Of a step that is not taken.
  void drop_gradients() const;

  /// Parameters and their moments, index by index, for saving and restoring in place. The moments
  /// of a parameter that another process owns are undefined.
  const std::vector<nn::Parameter>& parameters() const noexcept { return parameters_; }
  const std::vector<torch::Tensor>& first_moments() const noexcept { return first_; }
  const std::vector<torch::Tensor>& second_moments() const noexcept { return second_; }
  int owner(std::size_t parameter) const { return owners_.at(parameter); }
  ProcessGroup& group() const noexcept { return group_; }

 private:
  double average_gradients();

  std::vector<nn::Parameter> parameters_;
  AdamOptions options_;
  ProcessGroup& group_;
  std::vector<int> owners_;
  std::vector<torch::Tensor> first_;
  std::vector<torch::Tensor> second_;
  std::int64_t steps_ = 0;
};

}  // namespace onebit::distill

namespace onebit {

template <>
struct Words<distill::Decoupling> {
  static constexpr Word<distill::Decoupling> kAll[] = {{distill::Decoupling::kAdamW, "adamw"},
                                                       {distill::Decoupling::kAdam, "adam"}};
};

}  // namespace onebit
