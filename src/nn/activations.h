// Inputs of matrices, keys and values as an arch::ActivationRule wants them, with a
// straight-through gradient: what the runtime computes (runtime/activations.h), made trainable.
#pragma once

#include <torch/types.h>

#include "arch/activation_rule.h"
#include "nn/decoder.h"

namespace onebit::nn {

/// Every row (the last dimension) of x rounded to `bits` as the rule's enumeration says, kExact: x.
/// kAbsMax: the gradient passes through as it is (the straight-through estimator: no step is
/// differentiated, nothing is masked); kMinMax: as fake_tokens() (affine_rounding.h). Computed in
/// f32 for bf16, else in x's type, which the result has.
torch::Tensor round_rows(const torch::Tensor& x, arch::Rounding rounding, int bits);

/// The rule's norm, which is differentiated, and its rounding of inputs.
torch::Tensor apply_rule(const arch::ActivationRule& rule, double norm_eps, const torch::Tensor& x);

/// What the rule does to keys and values (and queries): none where it leaves them exact.
AttentionHooks attention_hooks(const arch::ActivationRule& rule);

}  // namespace onebit::nn
