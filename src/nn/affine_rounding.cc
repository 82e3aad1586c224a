#include "nn/affine_rounding.h"

#include <torch/autograd.h>
#include <torch/utils.h>

#include "base/check.h"

namespace onebit::nn {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kMostZero = 1e4;
constexpr int kFullBits = 16;

double top(std::int64_t bits) { return static_cast<double>((std::int64_t{1} << bits) - 1); }

Tensor raw_step(const Tensor& low, const Tensor& high, std::int64_t bits) {
  return (high - low).div_(top(bits));
}

struct Grids {
  Tensor step;
  Tensor zero;
};

Grids grids_of(const Tensor& low, const Tensor& high, std::int64_t bits, bool half) {
  Tensor step = raw_step(low, high, bits).clamp_(kLeastAffineStep, kMostAffineStep);
  if (half) step = step.to(torch::kHalf).to(low.scalar_type());
  const Tensor zero = low.neg().div_(step).clamp_(-kMostZero, kMostZero).round_();
  return {step, zero};
}

/// Codes before they are clamped to 0 … Q.
Tensor free_codes(const Tensor& x, const Grids& grids) {
  return (x / grids.step).round_().add_(grids.zero);
}

struct FakeAffineFunction : torch::autograd::Function<FakeAffineFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& low,
                        const Tensor& high, std::int64_t bits, bool half) {
    const Grids grids = grids_of(low, high, bits, half);
    ctx->save_for_backward({x, low, high, grids.step, grids.zero});
    ctx->saved_data["bits"] = bits;
    return free_codes(x, grids).clamp_(0, top(bits)).sub_(grids.zero).mul_(grids.step);
  }

  // With t = x / s and c the clamped code: dx̂/dx = [code within], dx̂/ds = c - z - t [code within].
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor& x = saved[0];
    const Grids grids = {saved[3], saved[4]};
    const std::int64_t bits = ctx->saved_data["bits"].toInt();
    Tensor code = free_codes(x, grids);
    const Tensor within = code.ge(0).logical_and_(code.le(top(bits)));
    Tensor dx;
    if (ctx->needs_input_grad(0)) dx = grads[0] * within;
    const Tensor by_step = code.clamp_(0, top(bits))
                               .sub_(grids.zero)
                               .sub_((x / grids.step).mul_(within))
                               .mul_(grads[0]);
    const Tensor raw = raw_step(saved[1], saved[2], bits);
    const Tensor dhigh = by_step.sum(-1, /*keepdim=*/true)
                             .mul_(raw.ge(kLeastAffineStep).logical_and_(raw.le(kMostAffineStep)))
                             .div_(top(bits));
    return {dx, -dhigh, dhigh, {}, {}};
  }
};

}  // namespace

Tensor fake_affine(const Tensor& x, const AffineLimits& limits, const AffineOptions& options) {
  ONEBIT_CHECK(options.bits >= 1 && options.bits <= 8);
  return FakeAffineFunction::apply(x, limits.low, limits.high, std::int64_t{options.bits},
                                   options.scales == formats::DType::kF16);
}

AffineCodes encode_affine(const Tensor& x, const AffineLimits& limits,
                          const AffineOptions& options) {
  ONEBIT_CHECK(options.bits >= 1 && options.bits <= 8);
  const torch::NoGradGuard no_grad;
  const Grids grids =
      grids_of(limits.low, limits.high, options.bits, options.scales == formats::DType::kF16);
  return {free_codes(x, grids).clamp_(0, top(options.bits)).to(torch::kUInt8), grids.step,
          grids.zero};
}

Tensor fake_tokens(const Tensor& x, int bits) {
  if (bits >= kFullBits) return x;
  return fake_affine(x, {x.amin(-1, /*keepdim=*/true), x.amax(-1, /*keepdim=*/true)}, {bits});
}

}  // namespace onebit::nn
