#include "quant/second_moment.h"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

/// Columns that are worked on at a time: what is in memory beside the matrix is as wide.
constexpr std::int64_t kPanel = 256;

Tensor part(const Tensor& a, std::int64_t row, std::int64_t rows, std::int64_t column,
            std::int64_t columns) {
  return a.narrow(0, row, rows).narrow(1, column, columns);
}

/// Puts L of a = L Lᵀ in the place of `a`, of which the lower triangle is read; false where there
/// is none. Each panel of columns is first rid of what those to its left make of it.
bool take_factor(Tensor& a) {
  const std::int64_t n = a.size(0);
  for (std::int64_t k = 0; k < n; k += kPanel) {
    const std::int64_t width = std::min(kPanel, n - k);
    Tensor panel = part(a, k, n - k, k, width);
    panel.addmm_(part(a, k, n - k, 0, k), part(a, k, width, 0, k).t(), /*beta=*/1, /*alpha=*/-1);
    Tensor corner = panel.narrow(0, 0, width);
    const auto [factor, info] = at::linalg_cholesky_ex(corner);
    if (info.item<int>() != 0) return false;
    corner.copy_(factor);
    if (k + width == n) break;
    Tensor below = panel.narrow(0, width, n - k - width);
    below.copy_(torch::linalg_solve_triangular(factor.t(), below, /*upper=*/true, /*left=*/false,
                                               /*unitriangular=*/false));
  }
  a.tril_();
  return true;
}

/// Puts L⁻¹ in the place of L, the last columns first: those to the right of a panel are inverted.
void take_inverse(Tensor& lower) {
  const std::int64_t n = lower.size(0);
  for (std::int64_t k = (n - 1) / kPanel * kPanel; k >= 0; k -= kPanel) {
    const std::int64_t width = std::min(kPanel, n - k);
    Tensor corner = part(lower, k, width, k, width);
    corner.copy_(torch::linalg_solve_triangular(corner, torch::eye(width, corner.options()),
                                                /*upper=*/false, /*left=*/true,
                                                /*unitriangular=*/false));
    const std::int64_t rest = n - k - width;
    if (rest == 0) continue;
    Tensor below = part(lower, k + width, rest, k, width);
    const Tensor right = part(lower, k + width, rest, k + width, rest);
    below.copy_(right.matmul(below).matmul(corner).neg_());
  }
}

/// J a J: the last row first, and in each the last column.
void reverse(Tensor& a) {
  auto* values = a.mutable_data_ptr<double>();
  std::reverse(values, values + a.numel());
}

}  // namespace

void drop_dead_columns(const Tensor& w, const Tensor& diagonal) {
  const Tensor dead = diagonal == 0;
  diagonal.masked_fill_(dead, 1);
  w.masked_fill_(dead.unsqueeze(0), 0);
}

Tensor permuted(const Tensor& h, const Tensor& order) {
  Tensor result = torch::empty_like(h);
  const auto* rows = order.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < order.size(0); ++i) {
    Tensor row = result[i];
    torch::index_select_out(row, h[rows[i]], 0, order);
  }
  return result;
}

Tensor damped_factor(Tensor h, double damping) {
  ONEBIT_CHECK(h.is_contiguous() && h.scalar_type() == torch::kFloat64);
  h.diagonal().add_(damping * h.diagonal().mean().item<double>());
  if (take_factor(h)) return h;
  throw Error(ErrorCode::kNumeric,
              fmt::format("second moment of the inputs: found a matrix that is not positive "
                          "definite with damping {}, expected more calibration text or --damp "
                          "above that",
                          damping));
}

Tensor inverse_factor(Tensor h, double damping) {
  ONEBIT_CHECK(h.is_contiguous() && h.scalar_type() == torch::kFloat64);
  reverse(h);
  Tensor factor = damped_factor(std::move(h), damping);
  take_inverse(factor);
  reverse(factor);
  return factor;
}

}  // namespace onebit::quant
