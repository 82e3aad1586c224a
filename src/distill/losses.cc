#include "distill/losses.h"

#include <algorithm>
#include <optional>
#include <torch/autograd.h>
#include <torch/utils.h>

#include "base/check.h"
#include "nn/fused.h"

namespace onebit::distill {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Hands the gradient that the forward pass has already formed to autograd.
struct PrecomputedGradient : torch::autograd::Function<PrecomputedGradient> {
  static Tensor forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& /*head*/,
                        const Tensor& value, const Tensor& dhidden,
                        const std::optional<Tensor>& dhead) {
    ctx->save_for_backward({dhidden, dhead.value_or(Tensor())});
    ONEBIT_CHECK(dhidden.sizes() == hidden.sizes());
    return value.clone();
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto scaled = [&](const Tensor& gradient) {
      return gradient.defined() ? gradient * grads[0].to(gradient.scalar_type()) : Tensor();
    };
    return {scaled(saved[0]), scaled(saved[1]), {}, {}, {}};
  }
};

/// Largest norm that counts as zero, as torch.nn.functional.normalize has it.
constexpr double kMinNorm = 1e-12;

}  // namespace

std::int64_t logit_chunk(torch::Device device) { return device.is_cpu() ? 128 : 2048; }

LogitLoss logit_loss(const Tensor& hidden_student, const Tensor& head_student,
                     const Tensor& hidden_teacher, const Tensor& head_teacher, const Tensor& tokens,
                     const LogitLossOptions& options) {
  const bool has_teacher = hidden_teacher.defined();
  ONEBIT_CHECK(hidden_student.dim() == 3);
  ONEBIT_CHECK(has_teacher ? hidden_student.sizes() == hidden_teacher.sizes() : options.alpha == 0);
  ONEBIT_CHECK(tokens.dim() == 2 && tokens.size(0) == hidden_student.size(0) &&
               tokens.size(1) == hidden_student.size(1));
  const std::int64_t batch = tokens.size(0);
  const std::int64_t length = tokens.size(1);
  const std::int64_t count = batch * length;
  const std::int64_t predicted = std::max<std::int64_t>(1, batch * (length - 1));
  const double temperature = options.temperature;
  ONEBIT_CHECK(temperature > 0);
  const double kl_weight =
      options.alpha * options.scale * temperature * temperature /
      static_cast<double>(options.reduction == LogitReduction::kPerSequence ? batch : count);
  const double ce_weight = (1.0 - options.alpha) / static_cast<double>(predicted);

  Tensor gradient;
  Tensor head_gradient;
  // [4]: divergence, the teacher's entropy, cross-entropy, the teacher's.
  Tensor sums = torch::zeros({4}, hidden_student.options().dtype(torch::kFloat64));
  {
    const torch::NoGradGuard no_grad;
    const Tensor student = hidden_student.detach().flatten(0, 1);
    const Tensor teacher = has_teacher ? hidden_teacher.detach().flatten(0, 1) : Tensor();
    // The last token of a sequence has no label.
    const Tensor labels =
        torch::cat({tokens.narrow(1, 1, length - 1), torch::full({batch, 1}, -1, tokens.options())},
                   1)
            .flatten();
    const bool needs_gradient = hidden_student.requires_grad();
    if (needs_gradient) gradient = torch::empty_like(student);
    if (needs_gradient && head_student.requires_grad()) {
      head_gradient = torch::zeros_like(head_student, student.scalar_type() == torch::kFloat64
                                                          ? torch::kFloat64
                                                          : torch::kFloat32);
    }
    const std::int64_t chunk = options.chunk > 0 ? options.chunk : logit_chunk(tokens.device());
    for (std::int64_t begin = 0; begin < count; begin += chunk) {
      const std::int64_t rows = std::min(chunk, count - begin);
      const Tensor hidden = student.narrow(0, begin, rows);
      Tensor logits = nn::product(hidden, head_student.t());
      const Tensor target = has_teacher
                                ? nn::product(teacher.narrow(0, begin, rows), head_teacher.t())
                                : logits.clone();
      const Tensor label = labels.narrow(0, begin, rows);
      const nn::DivergenceSums part =
          needs_gradient ? nn::divergence_and_gradient(logits, target, label, temperature,
                                                       kl_weight, ce_weight)
                         : nn::divergence(logits, target, label, temperature);
      sums += torch::stack({part.kl, part.entropy, part.cross_entropy, part.teacher_cross_entropy});
      if (!needs_gradient) continue;
      gradient.narrow(0, begin, rows).copy_(nn::product(logits, head_student));
      if (head_gradient.defined()) head_gradient += nn::product(logits.t(), hidden);
    }
  }
  // Read once: on a GPU each reading waits for all that was asked of it before.
  sums = sums.to(torch::kCPU);
  const double* sum = sums.const_data_ptr<double>();
  const double kl_sum = has_teacher ? sum[0] : 0;
  const double entropy_sum = has_teacher ? sum[1] : 0;
  const double ce_sum = sum[2];
  const double teacher_ce_sum = has_teacher ? sum[3] : 0;
  LogitLoss result;
  result.kl_per_token = kl_sum / static_cast<double>(count);
  result.ce_per_token = ce_sum / static_cast<double>(predicted);
  result.teacher_ce_per_token = teacher_ce_sum / static_cast<double>(predicted);
  const torch::ScalarType type =
      hidden_student.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const double divergence = options.term == LogitTerm::kDivergence ? kl_sum : kl_sum + entropy_sum;
  const Tensor value = torch::full({}, kl_weight * divergence + ce_weight * ce_sum,
                                   hidden_student.options().dtype(type).requires_grad(false));
  result.loss = gradient.defined()
                    ? PrecomputedGradient::apply(
                          hidden_student, head_student, value, gradient.view_as(hidden_student),
                          head_gradient.defined()
                              ? std::optional(head_gradient.to(head_student.scalar_type()))
                              : std::nullopt)
                    : value;
  return result;
}

Tensor hidden_loss(const std::vector<Tensor>& student, const std::vector<Tensor>& teacher,
                   std::size_t count) {
  ONEBIT_CHECK(count <= student.size() && count <= teacher.size() && count > 0);
  Tensor total;
  for (std::size_t i = 0; i < count; ++i) {
    const Tensor term = nn::normalized_distance(student[i], teacher[i], kMinNorm);
    total = total.defined() ? total + term : term;
  }
  return total;
}

Tensor relative_error(const Tensor& student, const Tensor& teacher) {
  ONEBIT_CHECK(student.sizes() == teacher.sizes());
  const Tensor target = teacher.detach();
  const Tensor error = (student - target).square().sum(-1);
  return (error / target.square().sum(-1).clamp_min(kMinNorm)).mean();
}

Tensor attention_loss(const std::vector<Tensor>& student, const std::vector<Tensor>& teacher) {
  ONEBIT_CHECK(student.size() == teacher.size() && !student.empty());
  Tensor total;
  for (std::size_t i = 0; i < student.size(); ++i) {
    const Tensor term = (student[i] - teacher[i].detach()).square().sum(-1).mean();
    total = total.defined() ? total + term : term;
  }
  return total;
}

}  // namespace onebit::distill
