#include "nn/fused.h"

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

  // With r = rstd and a = dy ⊙ weight: dx = r·a − x·r³·mean(a ⊙ x).
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& x = saved[0];
    const Tensor& rstd = saved[2];
    Tensor dx = grads[0].to(x.scalar_type()) * saved[1];
    const Tensor projection = (dx * x).mean(-1, /*keepdim=*/true).mul_(rstd.pow(3));
    dx.mul_(rstd).sub_(x * projection);
    return {dx, {}, {}, {}};
  }
};

struct RotaryFunction : torch::autograd::Function<RotaryFunction> {
  static Tensor rotate(const Tensor& x, const Tensor& cosine, const Tensor& sine) {
    const Tensor pairs = x.unflatten(-1, {-1, 2}).to(cosine.scalar_type());
    const Tensor even = pairs.select(-1, 0);
    const Tensor odd = pairs.select(-1, 1);
    const Tensor c = cosine.unsqueeze(1);  // [T, 1, head_dim/2]: the same for every head
    const Tensor s = sine.unsqueeze(1);
    return torch::stack({even * c - odd * s, even * s + odd * c}, -1)
        .flatten(-2)
        .to(x.scalar_type());
  }

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& cosine,
                        const Tensor& sine) {
    ctx->save_for_backward({cosine, sine});
    return rotate(x, cosine, sine);
  }

  // A rotation's transpose is the rotation by the opposite angle.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {rotate(grads[0], saved[0], -saved[1]), {}, {}};
  }
};

}  // namespace

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

Tensor rotary(const Tensor& x, const Tensor& cosine, const Tensor& sine) {
  return RotaryFunction::apply(x, cosine, sine);
}

Tensor swiglu(const Tensor& gate, const Tensor& up) { return torch::silu(gate) * up; }

}  // namespace onebit::nn
