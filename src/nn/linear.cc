#include "nn/linear.h"

#include <algorithm>
#include <torch/autograd.h>
#include <torch/utils.h>
#include <utility>

#include "base/check.h"
#include "nn/fused.h"

namespace onebit::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// x ⊙ g, or x itself where there is no g.
torch::Tensor scaled(const torch::Tensor& rows, const torch::Tensor& g) {
  return g.defined() ? scale_columns(rows, g) : rows;
}

/// The gradients of x ⊙ g.
ScaledGrad scaled_backward(const torch::Tensor& dy, const torch::Tensor& rows,
                           const torch::Tensor& g) {
  return g.defined() ? scale_columns_backward(dy, rows, g) : ScaledGrad{dy, {}};
}

std::vector<std::int64_t> with_last(std::vector<std::int64_t> shape, std::int64_t size) {
  shape.back() = size;
  return shape;
}

/// The whole layer as one node: it saves x, z = (x ⊙ g) Sᵀ and two statistics a row, recomputes
/// what is cheap, and touches each activation as few times as possible.
struct OneBitFunction : torch::autograd::Function<OneBitFunction> {
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x,
                               const torch::Tensor& latent, const std::optional<torch::Tensor>& in,
                               const torch::Tensor& h, const torch::Tensor& sign, bool norm,
                               std::int64_t gradient) {
    const torch::Tensor g = in.value_or(torch::Tensor());
    const torch::Tensor rows = x.reshape({-1, latent.size(1)});
    const torch::Tensor z = product(scaled(rows, g), sign.t()).to(x.scalar_type());
    ctx->saved_data["norm"] = norm;
    ctx->saved_data["gradient"] = gradient;
    const std::vector<std::int64_t> shape = with_last(x.sizes().vec(), h.size(0));
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
    const torch::Tensor dlatent =
        sign_backward(product(out.rows.t(), scaled(rows, g)), latent, gradient);
    const ScaledGrad in = scaled_backward(product(out.rows, sign).to(rows.scalar_type()), rows, g);
    const auto shape = with_last(grads[0].sizes().vec(), latent.size(1));
    return {in.rows.view(shape), dlatent, in.scale, out.scale, {}, {}, {}};
  }
};

/// The same with an own h for every group of inputs: y = (x ⊙ g) Wᵀ, W = S ⊙ h.
struct GroupedFunction : torch::autograd::Function<GroupedFunction> {
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x,
                               const torch::Tensor& latent, const std::optional<torch::Tensor>& in,
                               const torch::Tensor& h, const torch::Tensor& matrix,
                               std::int64_t group_size, std::int64_t gradient) {
    const torch::Tensor g = in.value_or(torch::Tensor());
    const torch::Tensor rows = x.reshape({-1, latent.size(1)});
    ctx->saved_data["group_size"] = group_size;
    ctx->saved_data["gradient"] = gradient;
    ctx->save_for_backward({rows, latent, g, h, matrix});
    return product(scaled(rows, g), matrix.t())
        .to(x.scalar_type())
        .view(with_last(x.sizes().vec(), h.size(0)));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor& rows = saved[0];
    const torch::Tensor& latent = saved[1];
    const torch::Tensor& g = saved[2];
    const torch::Tensor& h = saved[3];
    const torch::Tensor& matrix = saved[4];
    const std::int64_t group_size = ctx->saved_data["group_size"].toInt();
    const auto gradient = static_cast<SignGradient>(ctx->saved_data["gradient"].toInt());
    const torch::Tensor dy = grads[0].reshape({-1, h.size(0)});

    const torch::Tensor dmatrix = product(dy.t(), scaled(rows, g)).to(latent.scalar_type());
    const torch::Tensor dlatent =
        sign_backward(dmatrix * spread_groups(h, group_size, latent.size(1)), latent, gradient);
    const torch::Tensor dh =
        sum_groups(dmatrix * sign_of(latent, latent.scalar_type()), group_size);
    const ScaledGrad in = scaled_backward(product(dy, matrix).to(rows.scalar_type()), rows, g);
    const auto shape = with_last(grads[0].sizes().vec(), latent.size(1));
    return {in.rows.view(shape), dlatent, in.scale, dh, {}, {}, {}};
  }
};

}  // namespace

torch::Tensor spread_groups(const torch::Tensor& h, std::int64_t group_size, std::int64_t in) {
  return h.repeat_interleave(group_size, /*dim=*/1).narrow(1, 0, in);
}

torch::Tensor sum_groups(const torch::Tensor& values, std::int64_t group_size) {
  const std::int64_t in = values.size(1);
  const std::int64_t groups = arch::group_count(in, group_size);
  return torch::constant_pad_nd(values, {0, groups * group_size - in})
      .view({values.size(0), groups, group_size})
      .sum(-1);
}

DenseLinear::DenseLinear(torch::Tensor weight) : weight_(std::move(weight)) {
  ONEBIT_CHECK(weight_.dim() == 2);
}

torch::Tensor DenseLinear::forward(const torch::Tensor& x) {
  return product(x.reshape({-1, weight_.size(1)}), weight_.t())
      .to(x.scalar_type())
      .view(with_last(x.sizes().vec(), weight_.size(0)));
}

OneBitLinear::OneBitLinear(OneBitStart start, OneBitOptions options)
    : latent_(std::move(start.latent)),
      g_(std::move(start.g)),
      h_(std::move(start.h)),
      tie_(std::move(start.tie)),
      options_(options) {
  const std::int64_t group_size = options_.group_size;
  arch::require_group_size(options_.form, group_size);
  ONEBIT_CHECK(latent_.dim() == 2 && latent_.size(0) == h_.size(0));
  ONEBIT_CHECK(h_.dim() == (group_size == 0 ? 1 : 2));
  ONEBIT_CHECK(group_size == 0 || h_.size(1) == arch::group_count(latent_.size(1), group_size));
  ONEBIT_CHECK(latent_.scalar_type() == h_.scalar_type());
  if (tie_.defined()) ONEBIT_CHECK(g_.defined() && tie_.sizes() == latent_.sizes().slice(1));
  if (g_.defined()) {
    ONEBIT_CHECK(g_.dim() == 1 && g_.scalar_type() == latent_.scalar_type());
    ONEBIT_CHECK(tie_.defined() || g_.size(0) == latent_.size(1));
  }
  // A shared g is a parameter already, and stays the same tensor.
  if (g_.defined() && !g_.requires_grad()) g_ = g_.detach().contiguous().requires_grad_();
  for (torch::Tensor* parameter : {&latent_, &h_}) {
    *parameter = parameter->detach().contiguous().requires_grad_();
  }
}

std::optional<torch::Tensor> OneBitLinear::input_scale() const {
  if (!g_.defined()) return std::nullopt;
  return tie_.defined() ? g_.index_select(0, tie_) : g_;
}

torch::Tensor OneBitLinear::make_matrix(torch::ScalarType dtype) const {
  const torch::NoGradGuard no_grad;
  if (options_.group_size == 0) return sign_of(latent_, dtype);
  const torch::Tensor scale = spread_groups(h_, options_.group_size, latent_.size(1));
  return torch::where(latent_ < 0, -scale, scale).to(dtype);
}

torch::Tensor OneBitLinear::matrix_for(torch::ScalarType dtype) {
  if (!keeps_matrix_) return make_matrix(dtype);
  const std::uint32_t latent_version = latent_._version();
  const std::uint32_t h_version = options_.group_size > 0 ? h_._version() : 0;
  if (!matrix_.defined() || matrix_.scalar_type() != dtype || latent_version != latent_version_ ||
      h_version != h_version_) {
    matrix_ = make_matrix(dtype);
    latent_version_ = latent_version;
    h_version_ = h_version;
  }
  return matrix_;
}

torch::Tensor OneBitLinear::forward(const torch::Tensor& x) {
  const torch::Tensor matrix = matrix_for(product_type(x.scalar_type(), x.device()));
  const auto gradient = static_cast<std::int64_t>(options_.gradient);
  if (options_.group_size > 0) {
    return GroupedFunction::apply(x, latent_, input_scale(), h_, matrix, options_.group_size,
                                  gradient);
  }
  return OneBitFunction::apply(x, latent_, input_scale(), h_, matrix,
                               options_.form == arch::Form::kPaper, gradient);
}

torch::Tensor OneBitLinear::forward_reference(const torch::Tensor& x) const {
  const std::optional<torch::Tensor> scale = input_scale();
  const torch::Tensor in = scale ? x * *scale : x;
  const torch::Tensor sign = sign_ste(latent_, options_.gradient);
  if (options_.group_size > 0) {
    return torch::linear(in, sign * spread_groups(h_, options_.group_size, latent_.size(1)));
  }
  const torch::Tensor y = torch::linear(in, sign) * h_;
  if (options_.form != arch::Form::kPaper) return y;
  return torch::layer_norm(y, {h_.size(0)}, {}, {}, arch::kOutputNormEps);
}

void OneBitLinear::collect(const std::string& prefix, std::vector<Parameter>& out) const {
  out.push_back({prefix + ".latent", latent_, ParameterKind::kLatent});
  const auto shared = [this](const Parameter& p) { return p.value.is_same(g_); };
  if (g_.defined() && std::none_of(out.begin(), out.end(), shared)) {
    out.push_back({prefix + ".g", g_, ParameterKind::kScale});
  }
  out.push_back({prefix + ".h", h_, ParameterKind::kScale});
}

}  // namespace onebit::nn
