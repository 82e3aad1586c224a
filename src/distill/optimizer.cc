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

Adam::Adam(std::vector<nn::Parameter> parameters, AdamOptions options, ProcessGroup& group)
    : parameters_(std::move(parameters)), options_(options), group_(group) {
  std::vector<std::int64_t> sizes;
  for (const nn::Parameter& parameter : parameters_) sizes.push_back(parameter.value.numel());
  owners_ = balanced_owners(sizes, group.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const torch::Tensor value = parameters_[i].value.detach();
    const bool own = owners_[i] == group.rank();
    first_.push_back(own ? torch::zeros_like(value) : torch::Tensor());
    second_.push_back(own ? torch::zeros_like(value) : torch::Tensor());
  }
}

/// The norm of the average. Only the owners' gradients are left.
double Adam::average_gradients() {
  std::vector<OwnedTensor> shared;
  std::vector<torch::Tensor> own;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    torch::Tensor& gradient = parameters_[i].value.mutable_grad();
    if (!gradient.defined()) continue;
    gradient = gradient.contiguous();
    shared.push_back({gradient, owners_[i]});
    if (owners_[i] == group_.rank()) own.push_back(gradient);
  }
  group_.average(shared);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (owners_[i] != group_.rank()) parameters_[i].value.mutable_grad().reset();
  }
  const double norm =
      own.empty() ? 0 : torch::stack(torch::_foreach_norm(own)).norm().item<double>();
  return group_.size() == 1 ? norm : std::sqrt(group_.sum({norm * norm})[0]);
}

double Adam::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  struct Group {
    std::vector<torch::Tensor> values, gradients, first, second, counts;
  };
  Group latents, scales;
  std::vector<torch::Tensor> gradients;
  std::vector<OwnedTensor> updated;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].value.grad().defined()) continue;
    updated.push_back({parameters_[i].value, owners_[i]});
  }
  if (updated.empty()) return 0;
  const double norm = average_gradients();
  if (!std::isfinite(norm)) {
    drop_gradients();
    throw Error(ErrorCode::kNumeric,
                fmt::format("step {}: the gradient's norm is {}, expected a finite number",
                            steps_ + 1, norm));
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const torch::Tensor& gradient = parameters_[i].value.grad();
    if (!gradient.defined()) continue;
    Group& group = parameters_[i].kind == nn::ParameterKind::kLatent ? latents : scales;
    group.values.push_back(parameters_[i].value);
    group.gradients.push_back(gradient);
    group.first.push_back(first_[i]);
    group.second.push_back(second_[i]);
    gradients.push_back(gradient);
  }
  if (options_.max_grad_norm > 0 && !gradients.empty()) {
    const double scale = options_.max_grad_norm / (norm + 1e-6);
    if (scale < 1) torch::_foreach_mul_(gradients, scale);
  }
  const auto update = [&](Group& group, double rate, double weight_decay) {
    if (group.values.empty()) return;
    // libtorch's fused update takes the number of the step as a tensor; all share one.
    const torch::Tensor count =
        torch::full({}, static_cast<double>(steps_ + 1),
                    torch::dtype(torch::kFloat32).device(group.values[0].device()));
    group.counts.assign(group.values.size(), count);
    const Update fused = options_.kind == Decoupling::kAdamW
                             ? static_cast<Update>(torch::_fused_adamw_)
                             : static_cast<Update>(torch::_fused_adam_);
    fused(group.values, group.gradients, group.first, group.second, {}, group.counts, rate,
          options_.beta1, options_.beta2, weight_decay, options_.eps, /*amsgrad=*/false,
          /*maximize=*/false, {}, {});
  };
  update(latents, learning_rate, options_.weight_decay);
  update(scales, learning_rate * options_.scale_rate,
         options_.decay_scales ? options_.weight_decay : 0);
  group_.share(updated);
  // The fused update does not count as a change by itself; OneBitLinear's copy of S relies on it.
  for (const OwnedTensor& u : updated) u.tensor.unsafeGetTensorImpl()->bump_version();
  ++steps_;
  drop_gradients();
  return norm;
}

void Adam::drop_gradients() const {
  for (const nn::Parameter& parameter : parameters_) parameter.value.mutable_grad().reset();
}

}  // namespace onebit::distill
