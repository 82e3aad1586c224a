// A 1-bit start that knows its inputs: signs and scales that minimise the error of the layer's
// output on calibration data, in closed form (no gradients).
//
//   minimise  tr((W − Ŵ) H (W − Ŵ)ᵀ)  over  Ŵ = S ⊙ h gᵀ,  H = Σ_t x_t x_tᵀ
//
// The signs come from one pass of GPTQ's error feedback (arXiv 2210.17323) with the two levels
// ±h_r g_c of the SVID; then h (a quotient per row) and g (a linear system) are refitted in turn,
// each step the exact minimum given the other.
#pragma once

#include <cstdint>
#include <torch/torch.h>

#include "quant/svid.h"

namespace onebit::quant {

struct CalibratedOptions {
  SvidOptions svid;
  double damping = 0.01;  ///< added to H's diagonal, relative to its mean, as in GPTQ
  int refits = 3;         ///< rounds of h, then g
  bool feedback = true;   ///< false: keep sign(W), refit the scales only
};

struct CalibratedResult {
  torch::Tensor latent;  ///< f32 [out, in]: sign gives S; |latent| is near 1 where the sign is sure
  torch::Tensor g;       ///< f32 [in], non-negative
  torch::Tensor h;       ///< f32 [out], non-negative
  double output_error = 0;        ///< tr((W−Ŵ)H(W−Ŵ)ᵀ) / tr(WHWᵀ) at the end
  double start_output_error = 0;  ///< the same of plain SVID
};

/// w: f32 [out, in]; hessian: f32 or f64 [in, in], symmetric, positive semi-definite. Throws
/// Error{kNumeric} when the damped H has no Cholesky factor or W is not finite.
CalibratedResult calibrated_svid(const torch::Tensor& w, const torch::Tensor& hessian,
                                 const CalibratedOptions& options, ThreadPool& pool);

}  // namespace onebit::quant
