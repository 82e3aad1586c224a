#include "distill/optimizer.h"

#include <cmath>
#include <fmt/format.h>
#include <optional>
#include <torch/utils.h>
#include <utility>

#include "base/error.h"

namespace onebit::distill {
namespace {

/// libtorch's update of many tensors: values, gradients, first and second moments, largest second
/// moments (unused), steps; rate, betas, decay, epsilon.
using Update = void (*)(at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                        at::TensorList, at::TensorList, double, double, double, double, double,
                        bool amsgrad, bool maximize, const std::optional<at::Tensor>& grad_scale,
                        const std::optional<at::Tensor>& found_inf);

}  // namespace

Adam::Adam(std::vector<nn::Parameter> parameters, AdamOptions options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const nn::Parameter& parameter : parameters_) {
    const torch::Tensor value = parameter.value.detach();
    first_.push_back(torch::zeros_like(value));
    second_.push_back(torch::zeros_like(value));
  }
}

double Adam::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  struct Group {
    std::vector<torch::Tensor> values, gradients, first, second, counts;
  };
  Group latents, scales;
  std::vector<torch::Tensor> gradients;
  // libtorch's fused update takes the number of the step as a tensor; all share one.
  const torch::Tensor count = torch::full({}, static_cast<double>(steps_ + 1));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const torch::Tensor& gradient = parameters_[i].value.grad();
    if (!gradient.defined()) continue;
    Group& group = parameters_[i].kind == nn::ParameterKind::kLatent ? latents : scales;
    group.values.push_back(parameters_[i].value);
    group.gradients.push_back(gradient);
    group.first.push_back(first_[i]);
    group.second.push_back(second_[i]);
    group.counts.push_back(count);
    gradients.push_back(gradient);
  }
  if (gradients.empty()) return 0;
  const double norm = torch::stack(torch::_foreach_norm(gradients)).norm().item<double>();
  if (!std::isfinite(norm)) {
    drop_gradients();
    throw Error(ErrorCode::kNumeric,
                fmt::format("step {}: the gradient's norm is {}, expected a finite number",
                            steps_ + 1, norm));
  }
  if (options_.max_grad_norm > 0) {
    const double scale = options_.max_grad_norm / (norm + 1e-6);
    if (scale < 1) torch::_foreach_mul_(gradients, scale);
  }
  const auto update = [&](Group& group, double rate, double weight_decay) {
    if (group.values.empty()) return;
    const Update fused = options_.kind == Decoupling::kAdamW
                             ? static_cast<Update>(torch::_fused_adamw_)
                             : static_cast<Update>(torch::_fused_adam_);
    fused(group.values, group.gradients, group.first, group.second, {}, group.counts, rate,
          options_.beta1, options_.beta2, weight_decay, options_.eps, /*amsgrad=*/false,
          /*maximize=*/false, {}, {});
    // The fused update does not count as a change by itself; OneBitLinear's copy of S relies on it.
    for (const torch::Tensor& value : group.values) value.unsafeGetTensorImpl()->bump_version();
  };
  update(latents, learning_rate, options_.weight_decay);
  update(scales, learning_rate * options_.scale_rate,
         options_.decay_scales ? options_.weight_decay : 0);
  ++steps_;
  drop_gradients();
  return norm;
}

void Adam::drop_gradients() const {
  for (const nn::Parameter& parameter : parameters_) parameter.value.mutable_grad().reset();
}

}  // namespace onebit::distill
