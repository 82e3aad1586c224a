#include "nn/activations.h"

#include <torch/autograd.h>
#include <torch/utils.h>

#include "nn/affine_rounding.h"

namespace onebit::nn {
namespace {

using arch::ActivationRule;
using arch::InputNorm;
using arch::Rounding;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor to_steps(const Tensor& x, int bits) {
  constexpr double kLeastMax = 1e-5;  // as BitNet's code has it
  const double most = (1 << (bits - 1)) - 1;
  const Tensor step = x.abs().amax(-1, /*keepdim=*/true).clamp_min_(kLeastMax).div_(most);
  return x.div(step).round_().mul_(step);
}

struct RoundFunction : torch::autograd::Function<RoundFunction> {
  static Tensor forward(AutogradContext*, const Tensor& x, std::int64_t bits) {
    return to_steps(x, static_cast<int>(bits));
  }
  static variable_list backward(AutogradContext*, variable_list grads) { return {grads[0], {}}; }
};

Tensor normed(InputNorm norm, double eps, const Tensor& x) {
  if (norm == InputNorm::kNone) return x;
  const Tensor exact = x.scalar_type() == torch::kBFloat16 ? x.to(torch::kFloat32) : x;
  if (norm == InputNorm::kLayer) {
    return torch::layer_norm(exact, {x.size(-1)}, {}, {}, eps).to(x.scalar_type());
  }
  const Tensor rstd = exact.square().mean(-1, /*keepdim=*/true).add(eps).rsqrt();
  return (exact * rstd).to(x.scalar_type());
}

}  // namespace

Tensor round_rows(const Tensor& x, Rounding rounding, int bits) {
  if (bits == ActivationRule::kExact) return x;
  const Tensor exact = x.scalar_type() == torch::kBFloat16 ? x.to(torch::kFloat32) : x;
  const Tensor rounded = rounding == Rounding::kAbsMax
                             ? Tensor(RoundFunction::apply(exact, std::int64_t{bits}))
                             : fake_tokens(exact, bits);
  return rounded.to(x.scalar_type());
}

Tensor apply_rule(const ActivationRule& rule, double norm_eps, const Tensor& x) {
  return round_rows(normed(rule.norm, norm_eps, x), rule.rounding, rule.bits);
}

AttentionHooks attention_hooks(const ActivationRule& rule) {
  AttentionHooks hooks;
  if (rule.kv_bits == ActivationRule::kExact) return hooks;
  const auto hook = [rule](const Tensor& t) { return round_rows(t, rule.rounding, rule.kv_bits); };
  (rule.rounding == Rounding::kAbsMax ? hooks.cached : hooks.operand) = hook;
  return hooks;
}

}  // namespace onebit::nn
