#include "nn/linear.h"

#include <torch/autograd.h>
#include <utility>

#include "base/check.h"
#include "nn/fused.h"

namespace onebit::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The whole layer as one node: it saves x, z = (x ⊙ g) Sᵀ and two statistics a row, recomputes
/// what is cheap, and touches each activation as few times as possible.
struct OneBitFunction : torch::autograd::Function<OneBitFunction> {
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x,
                               const torch::Tensor& latent, const torch::Tensor& g,
                               const torch::Tensor& h, const torch::Tensor& sign, bool norm,
                               std::int64_t gradient) {
    const torch::Tensor rows = x.reshape({-1, g.size(0)});
    const torch::Tensor z = torch::mm(scale_columns(rows, g), sign.t());
    ctx->saved_data["norm"] = norm;
    ctx->saved_data["gradient"] = gradient;
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.back() = h.size(0);
    if (!norm) {
      ctx->save_for_backward({rows, latent, g, h, sign, z});
      return scale_columns(z, h).view(shape);
    }
    NormedRows y = scale_norm(z, h, arch::kOutputNormEps);
    ctx->save_for_backward({rows, latent, g, h, sign, z, y.mean, y.rstd});
    return y.rows.view(shape);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor& rows = saved[0];
    const torch::Tensor& latent = saved[1];
    const torch::Tensor& g = saved[2];
    const torch::Tensor& h = saved[3];
    const torch::Tensor& sign = saved[4];
    const torch::Tensor& z = saved[5];
    const auto gradient = static_cast<SignGradient>(ctx->saved_data["gradient"].toInt());
    const torch::Tensor dy = grads[0].reshape({-1, h.size(0)});

    const ScaledGrad out = ctx->saved_data["norm"].toBool()
                               ? scale_norm_backward(dy, z, h, saved[6], saved[7])
                               : scale_columns_backward(dy, z, h);
    const torch::Tensor scaled = scale_columns(rows, g);
    const torch::Tensor dlatent = sign_backward(torch::mm(out.rows.t(), scaled), latent, gradient);
    const ScaledGrad in = scale_columns_backward(torch::mm(out.rows, sign), rows, g);

    std::vector<std::int64_t> shape = grads[0].sizes().vec();
    shape.back() = g.size(0);
    return {in.rows.view(shape), dlatent, in.scale, out.scale, {}, {}, {}};
  }
};

}  // namespace

DenseLinear::DenseLinear(torch::Tensor weight) : weight_(std::move(weight)) {
  ONEBIT_CHECK(weight_.dim() == 2);
}

torch::Tensor DenseLinear::forward(const torch::Tensor& x) { return torch::linear(x, weight_); }

OneBitLinear::OneBitLinear(OneBitStart start, OneBitOptions options)
    : latent_(std::move(start.latent)),
      g_(std::move(start.g)),
      h_(std::move(start.h)),
      options_(options) {
  ONEBIT_CHECK(latent_.dim() == 2 && g_.dim() == 1 && h_.dim() == 1);
  ONEBIT_CHECK(latent_.size(0) == h_.size(0) && latent_.size(1) == g_.size(0));
  ONEBIT_CHECK(latent_.scalar_type() == g_.scalar_type() &&
               latent_.scalar_type() == h_.scalar_type());
  for (torch::Tensor* parameter : {&latent_, &g_, &h_}) {
    *parameter = parameter->detach().contiguous().requires_grad_();
  }
}

const torch::Tensor& OneBitLinear::sign_for(torch::ScalarType dtype) {
  const std::uint32_t version = latent_._version();
  if (!sign_.defined() || sign_.scalar_type() != dtype || version != sign_version_) {
    sign_ = sign_of(latent_, dtype);
    sign_version_ = version;
  }
  return sign_;
}

torch::Tensor OneBitLinear::forward(const torch::Tensor& x) {
  return OneBitFunction::apply(x, latent_, g_, h_, sign_for(x.scalar_type()),
                               options_.form == arch::Form::kPaper,
                               static_cast<std::int64_t>(options_.gradient));
}

torch::Tensor OneBitLinear::forward_reference(const torch::Tensor& x) const {
  const torch::Tensor y = torch::linear(x * g_, sign_ste(latent_, options_.gradient)) * h_;
  if (options_.form == arch::Form::kFoldable) return y;
  return torch::layer_norm(y, {h_.size(0)}, {}, {}, arch::kOutputNormEps);
}

void OneBitLinear::collect(const std::string& prefix, std::vector<Parameter>& out) const {
  out.push_back({prefix + ".latent", latent_, ParameterKind::kLatent});
  out.push_back({prefix + ".g", g_, ParameterKind::kScale});
  out.push_back({prefix + ".h", h_, ParameterKind::kScale});
}

}  // namespace onebit::nn
