#include "nn/fused.h"

#include <ATen/cpu/Utils.h>
#include <torch/autograd.h>
#include <torch/utils.h>

namespace onebit::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps,
                        torch::ScalarType dtype) {
    const Tensor rstd = x.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();
    ctx->save_for_backward({x, weight, rstd});
    return (x * rstd).mul_(weight).to(dtype);
  }

  // With r = rstd and a = dy ⊙ weight: dx = r·a − x·r³·mean(a ⊙ x), dweight = Σ dy ⊙ x·r.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& x = saved[0];
    const Tensor& rstd = saved[2];
    const Tensor dy = grads[0].to(x.scalar_type());
    Tensor dweight;
    if (ctx->needs_input_grad(1)) dweight = (dy * (x * rstd)).flatten(0, -2).sum(0);
    Tensor dx = dy * saved[1];
    const Tensor projection = (dx * x).mean(-1, /*keepdim=*/true).mul_(rstd.pow(3));
    dx.mul_(rstd).sub_(x * projection);
    return {dx, dweight, {}, {}};
  }
};

struct NormalizedDistanceFunction : torch::autograd::Function<NormalizedDistanceFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& a, const Tensor& b, double min_norm) {
    const Tensor norm = a.norm(2, -1, /*keepdim=*/true).clamp_min_(min_norm);
    const Tensor other_norm = b.norm(2, -1, /*keepdim=*/true).clamp_min_(min_norm);
    // The unit vectors are formed again for the gradient: a and b are held by others anyway.
    ctx->save_for_backward({a, norm, b, other_norm});
    return (a / norm).sub_(b / other_norm).square_().sum() / static_cast<double>(norm.numel());
  }

  // ‖â − b̂‖² = 2 − 2 â·b̂ for unit vectors, so d/da = −2/‖a‖ · (b̂ − â (â·b̂)).
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& norm = saved[1];
    Tensor unit = saved[0] / norm;
    const Tensor other = saved[2] / saved[3];
    const Tensor cosine = (unit * other).sum(-1, /*keepdim=*/true);
    const Tensor factor = grads[0] * 2.0 / static_cast<double>(norm.numel()) / norm;
    return {unit.mul_(cosine).sub_(other).mul_(factor), {}, {}};
  }
};

}  // namespace

bool has_bf16_tiles() {
  static const bool has = [] {
    const auto capabilities = at::cpu::get_cpu_capabilities();
    const auto tiles = capabilities.find("amx_bf16");
    return tiles != capabilities.end() && tiles->second.toBool();
  }();
  return has;
}

torch::ScalarType product_type(torch::ScalarType compute, torch::Device device) {
  const bool detour = compute == torch::kBFloat16 && device.is_cpu() && !has_bf16_tiles();
  return detour ? torch::kFloat32 : compute;
}

Tensor product(const Tensor& a, const Tensor& b) {
  const auto narrow = [](const Tensor& t) { return product_type(t.scalar_type(), t.device()); };
  return torch::mm(a.to(narrow(a)), b.to(narrow(b)));
}

Tensor scale_columns(const Tensor& x, const Tensor& s) { return (x * s).to(x.scalar_type()); }

ScaledGrad scale_columns_backward(const Tensor& dy, const Tensor& x, const Tensor& s) {
  return {(dy * s).to(x.scalar_type()), (dy.to(s.scalar_type()) * x).sum(0)};
}

NormedRows scale_norm(const Tensor& z, const Tensor& h, double eps) {
  const Tensor u = z * h;
  auto [y, mean, rstd] = torch::native_layer_norm(u, {h.size(0)}, {}, {}, eps);
  return {y.to(z.scalar_type()), mean, rstd};
}

ScaledGrad scale_norm_backward(const Tensor& dy, const Tensor& z, const Tensor& h,
                               const Tensor& mean, const Tensor& rstd) {
  const Tensor u = z * h;
  const Tensor du = std::get<0>(torch::native_layer_norm_backward(
      dy.to(h.scalar_type()), u, {h.size(0)}, mean, rstd, {}, {}, {true, false, false}));
  return {(du * h).to(z.scalar_type()), (du * z).sum(0)};
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, torch::ScalarType dtype) {
  return RmsNormFunction::apply(x, weight, eps, dtype);
}

Tensor rotary(const Tensor& x, const Tensor& turn) {
  // Pairs as complex numbers: one pass, and autograd keeps no more than `turn`.
  const Tensor pairs =
      torch::view_as_complex(x.unflatten(-1, {-1, 2}).to(c10::toRealValueType(turn.scalar_type())));
  return torch::view_as_real(pairs * turn).flatten(-2).to(x.scalar_type());
}

Tensor swiglu(const Tensor& gate, const Tensor& up) { return torch::silu(gate) * up; }

Tensor normalized_distance(const Tensor& a, const Tensor& b, double min_norm) {
  return NormalizedDistanceFunction::apply(a, b.detach(), min_norm);
}

namespace {

/// The sums, and what the gradient is made of.
struct Divergence {
  DivergenceSums sums;
  Tensor log_student;  ///< log p_s, [N, V]
  Tensor p_teacher;    ///< [N, V]
  Tensor log_plain;    ///< log p_s at temperature 1: the same tensor, if that is the temperature
  Tensor unlabelled;   ///< which rows have no label, [N, 1]
  Tensor columns;      ///< the label, or any column where there is none, [N, 1]
};

Divergence measure(const Tensor& student, const Tensor& teacher, const Tensor& labels,
                   double temperature) {
  const torch::ScalarType type =
      student.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const auto log_p = [&](const Tensor& logits) {
    if (temperature == 1) return torch::log_softmax(logits, -1, type);
    return torch::log_softmax(logits.to(type) / temperature, -1);
  };
  Divergence d;
  d.log_student = log_p(student);
  Tensor log_teacher = log_p(teacher);
  d.p_teacher = log_teacher.exp();
  // Rows are summed in their own type: a sum in f64 would copy the whole matrix first.
  const auto total = [](const Tensor& terms) { return terms.sum(-1).sum(torch::kFloat64); };
  d.sums.entropy = total(log_teacher * d.p_teacher).neg_();
  d.unlabelled = labels.lt(0).unsqueeze(1);
  d.columns = labels.clamp_min(0).unsqueeze(1);
  const auto cross_entropy = [&](const Tensor& log_plain) {
    return log_plain.gather(1, d.columns).masked_fill_(d.unlabelled, 0).sum(torch::kFloat64).neg_();
  };
  d.sums.teacher_cross_entropy =
      cross_entropy(temperature == 1 ? log_teacher : torch::log_softmax(teacher, -1, type));
  d.sums.kl = total(log_teacher.sub_(d.log_student).mul_(d.p_teacher));
  d.log_plain = temperature == 1 ? d.log_student : torch::log_softmax(student, -1, type);
  d.sums.cross_entropy = cross_entropy(d.log_plain);
  return d;
}

}  // namespace

DivergenceSums divergence(const Tensor& student, const Tensor& teacher, const Tensor& labels,
                          double temperature) {
  const torch::NoGradGuard no_grad;
  return measure(student, teacher, labels, temperature).sums;
}

DivergenceSums divergence_and_gradient(Tensor& student, const Tensor& teacher, const Tensor& labels,
                                       double temperature, double kl_weight, double ce_weight) {
  const torch::NoGradGuard no_grad;
  Divergence d = measure(student, teacher, labels, temperature);
  Tensor ce;
  if (ce_weight != 0) {
    ce = d.log_plain.exp();
    ce.scatter_add_(1, d.columns, torch::full_like(d.columns, -1, ce.options()));
    ce.masked_fill_(d.unlabelled, 0);
  }
  Tensor gradient = d.log_student.exp_().sub_(d.p_teacher).mul_(kl_weight / temperature);
  if (ce_weight != 0) gradient.add_(ce, ce_weight);
  student.copy_(gradient);
  return d.sums;
}

}  // namespace onebit::nn
