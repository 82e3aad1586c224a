#include "nn/sign_ste.h"

#include <torch/autograd.h>
#include <torch/utils.h>

namespace onebit::nn {
namespace {

struct SignFunction : torch::autograd::Function<SignFunction> {
  static torch::Tensor forward(torch::autograd::AutogradContext* ctx, const torch::Tensor& w,
                               std::int64_t gradient) {
    ctx->save_for_backward({w});
    ctx->saved_data["gradient"] = gradient;
    return sign_of(w, w.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto gradient = static_cast<SignGradient>(ctx->saved_data["gradient"].toInt());
    return {sign_backward(grads[0], ctx->get_saved_variables()[0], gradient), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor sign_of(const torch::Tensor& w, torch::ScalarType dtype) {
  const torch::NoGradGuard no_grad;
  return w.lt(0).to(dtype).mul_(-2).add_(1);
}

torch::Tensor sign_backward(const torch::Tensor& grad_sign, const torch::Tensor& w,
                            SignGradient gradient) {
  if (gradient == SignGradient::kIdentity) return grad_sign.to(w.scalar_type());
  return w.tanh().square_().neg_().add_(1.001).mul_(grad_sign);
}

torch::Tensor sign_ste(const torch::Tensor& w, SignGradient gradient) {
  return SignFunction::apply(w, static_cast<std::int64_t>(gradient));
}

}  // namespace onebit::nn
