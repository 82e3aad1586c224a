#include "quant/low_rank_solver.h"

#include <algorithm>
#include <torch/utils.h>
#include <utility>

#include "arch/code_matrix.h"
#include "base/check.h"
#include "formats/sign1.h"
#include "quant/second_moment.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

/// U_r √S_r and √S_r V_rᵀ.
LowRankFactors truncated(const Tensor& w, std::int64_t rank) {
  ONEBIT_CHECK(w.dim() == 2 && rank >= 1 && rank <= std::min(w.size(0), w.size(1)));
  const auto [u, s, vt] = torch::linalg_svd(w, /*full_matrices=*/false, std::nullopt);
  const Tensor root = s.narrow(0, 0, rank).sqrt();
  return {u.narrow(1, 0, rank) * root, vt.narrow(0, 0, rank) * root.unsqueeze(1)};
}

}  // namespace

LowRankFactors low_rank(const Tensor& w, std::int64_t rank) {
  const torch::NoGradGuard no_grad;
  return truncated(w.to(torch::kCPU, torch::kFloat64), rank);
}

LowRankFactors low_rank_aware(const Tensor& w, std::int64_t rank, const Tensor& moment,
                              double damping) {
  const torch::NoGradGuard no_grad;
  if (moment.diagonal().eq(0).all().item<bool>()) return low_rank(w, rank);
  Tensor own = moment.to(torch::kFloat64, /*non_blocking=*/false, /*copy=*/true).contiguous();
  const Tensor lower = damped_factor(std::move(own), damping);
  LowRankFactors factors = truncated(w.to(torch::kCPU, torch::kFloat64).matmul(lower), rank);
  factors.b = torch::linalg_solve_triangular(lower, factors.b, /*upper=*/false, /*left=*/false,
                                             /*unitriangular=*/false);
  return factors;
}

std::int64_t rank_for(int bits, std::int64_t out, std::int64_t in) {
  constexpr std::uint64_t kF16 = 2;
  const arch::CodeSpec rows = {.bits = bits, .zero = formats::DType::kI8};
  const std::uint64_t bytes = bits == 1
                                  ? static_cast<std::uint64_t>(out * formats::sign1_row_bytes(in)) +
                                        kF16 * static_cast<std::uint64_t>(out + in)
                                  : arch::code_bytes(rows, out, in, formats::DType::kF16);
  const std::uint64_t component = kF16 * static_cast<std::uint64_t>(out + in);
  return std::clamp(static_cast<std::int64_t>(bytes / component), std::int64_t{1},
                    std::min(out, in));
}

}  // namespace onebit::quant
