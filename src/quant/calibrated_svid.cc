#include "quant/calibrated_svid.h"

#include <algorithm>
#include <fmt/format.h>
#include <span>

#include "base/check.h"
#include "base/error.h"

namespace onebit::quant {
namespace {

using torch::Tensor;
using torch::indexing::Slice;

// Columns between two updates of the whole remainder: the update is then a matrix product.
constexpr std::int64_t kColumnBlock = 64;

// Keeps g's linear system solvable where an input is never active.
constexpr double kScaleRidge = 1e-3;

Tensor sign_of(const Tensor& x) { return torch::where(x < 0, -1.0, 1.0).to(x.scalar_type()); }

double output_error(const Tensor& difference, const Tensor& hessian) {
  return (torch::matmul(difference, hessian) * difference).sum().item<double>();
}

/// GPTQ's factor: the upper Cholesky factor of the inverse of the damped H.
Tensor feedback_factor(const Tensor& hessian, double damping) {
  Tensor damped = hessian.to(torch::kFloat64).clone();
  const double mean = damped.diagonal().mean().item<double>();
  damped.diagonal().add_(std::max(damping * mean, 1e-30));
  const auto [lower, status] = torch::linalg_cholesky_ex(damped);
  if (status.item<int>() == 0) {
    const auto [upper, inverse_status] =
        torch::linalg_cholesky_ex(torch::cholesky_inverse(lower), /*upper=*/true);
    if (inverse_status.item<int>() == 0) return upper.to(torch::kFloat32);
  }
  throw Error(ErrorCode::kNumeric,
              fmt::format("calibration: the inputs' second-moment matrix is not positive definite "
                          "with damping {}; use more calibration text or a larger damping",
                          damping));
}

/// The values whose signs are taken, column after column, each error pushed into later columns.
Tensor feedback_pass(const Tensor& w, const Tensor& factor, const Tensor& g, const Tensor& h) {
  Tensor rest = w.clone();
  Tensor taken = torch::empty_like(w);
  const std::int64_t in = w.size(1);
  for (std::int64_t begin = 0; begin < in; begin += kColumnBlock) {
    const std::int64_t end = std::min(in, begin + kColumnBlock);
    Tensor block = rest.index({Slice(), Slice(begin, end)}).clone();
    Tensor errors = torch::empty_like(block);
    for (std::int64_t c = begin; c < end; ++c) {
      const Tensor column = block.select(1, c - begin);
      taken.select(1, c).copy_(column);
      const Tensor level = sign_of(column) * h * g[c];
      const Tensor error = (column - level) / factor[c][c];
      errors.select(1, c - begin).copy_(error);
      block.slice(1, c - begin).sub_(torch::outer(error, factor[c].slice(0, c, end)));
    }
    if (end < in) {
      rest.slice(1, end).sub_(torch::matmul(errors, factor.slice(0, begin, end).slice(1, end)));
    }
  }
  return taken;
}

/// Alternating exact minima of h and of g for fixed signs s.
void refit_scales(const Tensor& w, const Tensor& s, const Tensor& hessian, int rounds, Tensor& g,
                  Tensor& h) {
  const Tensor wh = torch::matmul(w, hessian);
  for (int round = 0; round < rounds; ++round) {
    const Tensor a = s * g;
    const Tensor numerator = (torch::matmul(a, hessian) * w).sum(1);
    const Tensor denominator = (torch::matmul(a, hessian) * a).sum(1);
    h = torch::where(denominator > 0, numerator / denominator, torch::zeros_like(numerator));
    const Tensor sh = s * h.unsqueeze(1);
    Tensor system = (hessian * torch::matmul(sh.t(), sh)).to(torch::kFloat64);
    const double mean = system.diagonal().mean().item<double>();
    if (mean <= 0) return;  // every h is zero: nothing left to fit
    system.diagonal().add_(kScaleRidge * mean);
    const Tensor right = (sh * wh).sum(0).to(torch::kFloat64);
    g = torch::linalg_solve(system, right, /*left=*/true).to(torch::kFloat32);
  }
}

}  // namespace

CalibratedResult calibrated_svid(const Tensor& w, const Tensor& hessian,
                                 const CalibratedOptions& options, ThreadPool& pool) {
  const torch::NoGradGuard no_grad;
  ONEBIT_CHECK(w.dim() == 2 && w.scalar_type() == torch::kFloat32 && w.is_contiguous());
  ONEBIT_CHECK(hessian.dim() == 2 && hessian.size(0) == w.size(1) && hessian.size(1) == w.size(1));
  const SvidResult start =
      svid(std::span<const float>(w.data_ptr<float>(), static_cast<std::size_t>(w.numel())),
           w.size(0), w.size(1), options.svid, pool);
  Tensor g = torch::tensor(start.g);
  Tensor h = torch::tensor(start.h);
  const Tensor moments = hessian.to(torch::kFloat32);

  const double norm = std::max(output_error(w, moments), 1e-30);
  const Tensor plain = sign_of(w) * torch::outer(h, g);
  CalibratedResult result;
  result.start_output_error = output_error(w - plain, moments) / norm;

  Tensor latent = options.feedback
                      ? feedback_pass(w, feedback_factor(hessian, options.damping), g, h)
                      : w.clone();
  refit_scales(w, sign_of(latent), moments, options.refits, g, h);

  // A negative scale is a flipped sign: keep g and h non-negative. The latent is in units of the
  // level, so that one learning rate suits every matrix; never zero, so that its sign is S.
  const Tensor sign = sign_of(latent) * sign_of(h).unsqueeze(1) * sign_of(g);
  g = g.abs();
  h = h.abs();
  const Tensor level = torch::outer(h, g);
  result.output_error = output_error(w - sign * level, moments) / norm;
  result.latent = sign * (latent.abs() / level.clamp_min(1e-12)).clamp_min(1e-6);
  result.g = g;
  result.h = h;
  return result;
}

}  // namespace onebit::quant
