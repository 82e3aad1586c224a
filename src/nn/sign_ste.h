// S = sign(w) with a straight-through gradient: what makes 1-bit weights trainable.
#pragma once

#include <cstdint>
#include <torch/types.h>

#include "base/words.h"

namespace onebit::nn {

/// What stands in for the derivative of sign(w), which is zero almost everywhere.
enum class SignGradient : std::uint8_t {
  kTanh,      ///< dL/dw = dL/dS ⊙ (1.001 − tanh² w), as the reference implementation trains
  kIdentity,  ///< dL/dw = dL/dS
};

/// S in {-1,+1} of the same shape, as `dtype`. sign(0) = sign(-0) = +1, as packed files store it.
/// The reference implementation's training code has sign(0) = 0 instead; a weight that is exactly
/// zero is the only place where the two differ. No gradient.
torch::Tensor sign_of(const torch::Tensor& w, torch::ScalarType dtype);

/// The factor of kTanh or kIdentity applied to dL/dS: dL/dw in w's type.
torch::Tensor sign_backward(const torch::Tensor& grad_sign, const torch::Tensor& w,
                            SignGradient gradient);

/// Differentiable sign_of in w's own type: the readable form that OneBitLinear's fused function is
/// tested against.
torch::Tensor sign_ste(const torch::Tensor& w, SignGradient gradient);

}  // namespace onebit::nn

namespace onebit {

template <>
struct Words<nn::SignGradient> {
  static constexpr Word<nn::SignGradient> kAll[] = {{nn::SignGradient::kTanh, "tanh"},
                                                    {nn::SignGradient::kIdentity, "identity"}};
};

}  // namespace onebit
