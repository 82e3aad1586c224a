// Affine fake quantisation that is differentiated, steps and limits included: of weights and of
// activations, for methods that train where a grid begins and ends (OmniQuant, arXiv 2308.13137,
// equation 2; quantizer.py of github.com/OpenGVLab/OmniQuant where the paper is silent).
//
//   s = clamp((high - low) / Q, 1e-5, 1e4),   z = round(clamp(-low / s, -1e4, 1e4)),
//   x̂ = s (clamp(round(x / s) + z, 0, Q) - z),   Q = 2^bits - 1,
//
// round to nearest, ties to even. round(x / s) passes on the gradient of x / s (straight through),
// the clamp to 0 … Q those of codes within it, z none; s has its own, and so have low and high.
// z lies outside 0 … Q where low and high have one sign.
#pragma once

#include <cstdint>
#include <torch/types.h>

#include "formats/dtype.h"

namespace onebit::nn {

/// Between these s is kept.
inline constexpr double kLeastAffineStep = 1e-5;
inline constexpr double kMostAffineStep = 1e4;

/// Limits low and high of groups of x: they have x's shape but for the last dimension, which is 1.
struct AffineLimits {
  torch::Tensor low;
  torch::Tensor high;
};

struct AffineOptions {
  int bits = 4;
  /// s is rounded to this type (f16; others: not at all) before z and codes follow from it, and
  /// passes gradients on as if it were not.
  formats::DType scales = formats::DType::kF64;
};

/// x̂, differentiable in x and in the limits.
torch::Tensor fake_affine(const torch::Tensor& x, const AffineLimits& limits,
                          const AffineOptions& options);

/// What fake_affine() makes of x, as it is stored: x̂ = s (code - z). No gradients.
struct AffineCodes {
  torch::Tensor codes;  ///< u8, x's shape
  torch::Tensor scale;  ///< s, the limits' shape
  torch::Tensor zero;   ///< z, the same
};
AffineCodes encode_affine(const torch::Tensor& x, const AffineLimits& limits,
                          const AffineOptions& options);

/// x̂ of activations: low and high are the extremes of the last dimension, each position by itself
/// ("per token"), and pass gradients on; those that share an extreme share its gradient. 16 bits or
/// more: x itself.
torch::Tensor fake_tokens(const torch::Tensor& x, int bits);

}  // namespace onebit::nn
