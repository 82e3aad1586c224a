#include "quant/second_moment.h"

#include <fmt/format.h>
#include <tuple>

#include "base/error.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

/// The lower triangular factor of a matrix that may not have one.
Tensor cholesky(const Tensor& matrix, double damping) {
  const auto [factor, info] = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() == 0) return factor;
  throw Error(ErrorCode::kNumeric,
              fmt::format("second moment of the inputs: found a matrix that is not positive "
                          "definite with damping {}, expected more calibration text or --damp "
                          "above that",
                          damping));
}

}  // namespace

void drop_dead_columns(Tensor& w, Tensor& h) {
  const Tensor dead = h.diagonal() == 0;
  h.diagonal().masked_fill_(dead, 1);
  w.masked_fill_(dead.unsqueeze(0), 0);
}

Tensor damped_factor(const Tensor& h, double damping) {
  Tensor damped = h.clone();
  damped.diagonal().add_(damping * h.diagonal().mean().item<double>());
  return cholesky(damped, damping);
}

Tensor inverse_factor(const Tensor& h, double damping) {
  const Tensor inverse = at::cholesky_inverse(damped_factor(h, damping));
  return cholesky(inverse, damping).t().contiguous();
}

}  // namespace onebit::quant
