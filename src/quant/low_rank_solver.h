// The best matrix of a low rank: truncated singular value decomposition, of the weights or of what
// they do to the inputs.
//
//   plain   W = U S Vᵀ, A = U_r √S_r, B = √S_r V_rᵀ: the least ‖W - A B‖² of rank r
//   aware   G + damping · mean(diag G) I = L Lᵀ for G the second moment of the inputs, L lower
//           triangular; W L = U S Vᵀ, A = U_r √S_r, B = √S_r V_rᵀ L⁻¹: the least ‖(W - A B) X‖²
//           (SVD-LLM, arXiv 2403.07378, section 3.1)
#pragma once

#include <cstdint>
#include <torch/types.h>

namespace onebit::quant {

struct LowRankFactors {
  torch::Tensor a;  ///< [out, rank], f64
  torch::Tensor b;  ///< [rank, in], f64
};

/// w [out, in]; rank at least 1 and at most the smaller of the two. All in f64.
LowRankFactors low_rank(const torch::Tensor& w, std::int64_t rank);

/// `moment` [in, in], of any scale; of inputs that are all 0 it says nothing: low_rank(). Throws as
/// damped_factor().
LowRankFactors low_rank_aware(const torch::Tensor& w, std::int64_t rank,
                              const torch::Tensor& moment, double damping);

/// The largest rank whose two f16 factors take no more than the matrix takes at `bits` bits a
/// weight: 1 as a 1-bit layer with g and h in f16, more as codes with an f16 scale and a zero point
/// for each row. At least 1.
std::int64_t rank_for(int bits, std::int64_t out, std::int64_t in);

}  // namespace onebit::quant
