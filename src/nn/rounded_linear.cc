#include "nn/rounded_linear.h"

#include <torch/autograd.h>
#include <torch/utils.h>
#include <utility>

#include "base/check.h"
#include "nn/activations.h"
#include "nn/fused.h"
#include "nn/pack.h"

namespace onebit::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// y = x Ŵᵀ with the gradient of Ŵ given to W.
struct StraightThroughProduct : torch::autograd::Function<StraightThroughProduct> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& matrix) {
    const Tensor rows = x.reshape({-1, weight.size(1)});
    ctx->save_for_backward({rows, matrix});
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.back() = weight.size(0);
    ctx->saved_data["type"] = static_cast<std::int64_t>(weight.scalar_type());
    return product(rows, matrix.t()).to(x.scalar_type()).view(shape);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& rows = saved[0];
    const Tensor& matrix = saved[1];
    const Tensor dy = grads[0].reshape({-1, matrix.size(0)});
    const auto type = static_cast<torch::ScalarType>(ctx->saved_data["type"].toInt());
    std::vector<std::int64_t> shape = grads[0].sizes().vec();
    shape.back() = matrix.size(1);
    return {
        product(dy, matrix).to(rows.scalar_type()).view(shape), product(dy.t(), rows).to(type), {}};
  }
};

/// a_r of every row, [out, 1].
Tensor row_steps(const Tensor& w, int bits) {
  const double most = (1 << (bits - 1)) - 1;
  const Tensor step = w.abs().amax(-1, /*keepdim=*/true).div(most);
  return torch::where(step > 0, step, torch::ones_like(step));
}

Tensor mean_magnitude(const Tensor& w) { return w.abs().mean(); }
/// γ with its authors' bound; of zeros 1, which a file's f16 holds and 1e-5 it does not.
Tensor ternary_scale(const Tensor& w) {
  const Tensor mean = mean_magnitude(w);
  return torch::where(mean > 0, mean.clamp_min(1e-5), torch::ones_like(mean));
}

}  // namespace

arch::Storage storage_of(const RoundedOptions& options) {
  switch (options.weights) {
    case WeightRounding::kSign:
      return arch::OneBitStorage{};
    case WeightRounding::kTernary:
      return arch::CodeSpec{.bits = 2};
    default:
      return arch::CodeSpec{.bits = options.bits};
  }
}

Tensor round_weights(const Tensor& w, const RoundedOptions& options) {
  const torch::NoGradGuard no_grad;
  switch (options.weights) {
    case WeightRounding::kSign:
      return sign_of(w - w.mean(), w.scalar_type()).mul_(mean_magnitude(w));
    case WeightRounding::kTernary: {
      const Tensor scale = ternary_scale(w);
      return w.div(scale).round_().clamp_(-1, 1).mul_(scale);
    }
    default: {
      const Tensor step = row_steps(w, options.bits);
      return w.div(step).round_().mul_(step);
    }
  }
}

RoundedLinear::RoundedLinear(Tensor weight, const RoundedOptions& options)
    : weight_(weight.detach().contiguous().requires_grad_()), options_(options) {
  ONEBIT_CHECK(weight_.dim() == 2);
}

Tensor RoundedLinear::matrix_for(torch::ScalarType dtype) {
  const auto make = [&] { return round_weights(weight_, options_).to(dtype); };
  if (!keeps_matrix_) return make();
  const std::uint32_t version = weight_._version();
  if (!matrix_.defined() || matrix_.scalar_type() != dtype || version != version_) {
    matrix_ = make();
    version_ = version;
  }
  return matrix_;
}

Tensor RoundedLinear::forward(const Tensor& x) {
  const Tensor input = apply_rule(options_.inputs, options_.norm_eps, x);
  return StraightThroughProduct::apply(input, weight_,
                                       matrix_for(product_type(x.scalar_type(), x.device())));
}

void RoundedLinear::collect(const std::string& prefix, std::vector<Parameter>& out) const {
  out.push_back({prefix + ".weight", weight_, ParameterKind::kLatent});
}

void RoundedLinear::add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const {
  const torch::NoGradGuard no_grad;
  const Tensor w = weight_.to(torch::kCPU);
  const auto out = static_cast<std::size_t>(w.size(0));
  if (options_.weights == WeightRounding::kSign) {
    const auto scale = mean_magnitude(w).item<float>();
    writer.add_one_bit(role, layer, pack_signs(sign_of(w - w.mean(), torch::kFloat32)), {},
                       std::vector<float>(out, scale));
    return;
  }
  const bool ternary = options_.weights == WeightRounding::kTernary;
  const int bits = ternary ? 2 : options_.bits;
  const Tensor step = ternary ? ternary_scale(w).expand({w.size(0), 1}) : row_steps(w, bits);
  Tensor code = w.div(step).round_();
  if (ternary) code.clamp_(-1, 1);
  code = code.add_(arch::symmetric_zero(bits)).to(torch::kUInt8).contiguous();
  arch::CodeValues values;
  const auto* first = code.const_data_ptr<std::uint8_t>();
  values.codes.assign(first, first + code.numel());
  values.ends = arch::group_ends(w.size(1), 0);
  values.scale = values_of(step);
  writer.add_codes(role, layer, values);
}

}  // namespace onebit::nn
