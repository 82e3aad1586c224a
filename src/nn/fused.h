// The element-wise halves of the layers, forward and backward, each in as few passes over memory
// as it needs. Activations may be bf16 while scales are f32: products are formed in the scales'
// type and rounded once. Nothing here records gradients; autograd functions call these.
//
// N rows (tokens), C columns (features). Every tensor is contiguous or made so.
#pragma once

#include <torch/types.h>

namespace onebit::nn {

/// The type in which products of matrices of a compute type are formed: f32 for bf16 on a CPU
/// without tiles for it (AMX), where libtorch multiplies f32 about 1.6 times as fast; else the type
/// itself. Both add in f32 and are rounded to bf16 once, at the end.
torch::ScalarType product_type(torch::ScalarType compute, torch::Device device);

/// Whether this CPU multiplies bf16 tiles.
bool has_bf16_tiles();

/// a b, [N, K] and [K, C], in their product_type().
torch::Tensor product(const torch::Tensor& a, const torch::Tensor& b);

/// y[n,c] = x[n,c] · s[c], in x's type.
torch::Tensor scale_columns(const torch::Tensor& x, const torch::Tensor& s);

/// Gradients of something ⊙ scale: for the rows in their type, for the scale in its type.
struct ScaledGrad {
  torch::Tensor rows;   ///< [N, C]
  torch::Tensor scale;  ///< [C]
};

/// rows[n,c] = dy[n,c] · s[c]; scale[c] = Σ_n dy[n,c] · x[n,c].
ScaledGrad scale_columns_backward(const torch::Tensor& dy, const torch::Tensor& x,
                                  const torch::Tensor& s);

struct NormedRows {
  torch::Tensor rows;  ///< [N, C] in z's type
  torch::Tensor mean;  ///< [N, 1] in the scales' type
  torch::Tensor rstd;  ///< [N, 1]
};

/// LayerNorm without parameters of u = z ⊙ h: (u − mean) · rstd over each row, rstd =
/// 1/√(variance + eps) with the biased variance.
NormedRows scale_norm(const torch::Tensor& z, const torch::Tensor& h, double eps);

/// Gradients of scale_norm for z and h.
ScaledGrad scale_norm_backward(const torch::Tensor& dy, const torch::Tensor& z,
                               const torch::Tensor& h, const torch::Tensor& mean,
                               const torch::Tensor& rstd);

/// y = x / √(mean(x²) + eps) ⊙ weight over the last dimension, computed in x's type, returned as
/// `dtype`. x f32 or f64. Differentiable in x, and in the weight if it requires a gradient.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double eps,
                       torch::ScalarType dtype);

/// Rotary positions over neighbouring pairs: x [B, T, H, head_dim] with pair (2i, 2i+1) of head h
/// rotated by the angle of turn[t, h, i] = e^(i·angle), complex [T, H, head_dim/2] in the scales'
/// precision. Differentiable in x.
torch::Tensor rotary(const torch::Tensor& x, const torch::Tensor& turn);

/// SiLU(gate) ⊙ up, differentiable in both.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

/// Mean over all rows of ‖a/‖a‖ − b/‖b‖‖², norms over the last dimension and at least `min_norm`.
/// Differentiable in a only.
torch::Tensor normalized_distance(const torch::Tensor& a, const torch::Tensor& b, double min_norm);

/// Sums over the rows of logits, f64 scalars on the logits' device: reading one waits for it.
struct DivergenceSums {
  torch::Tensor kl;  ///< Σ_n Σ_v p_t (log p_t − log p_s), p = softmax(logits / temperature)
  torch::Tensor entropy;        ///< Σ_n Σ_v −p_t log p_t, of the same p_t
  torch::Tensor cross_entropy;  ///< Σ_n −log p_s(label) at temperature 1, where there is a label
  torch::Tensor teacher_cross_entropy;  ///< the same of p_t
};

/// From logits of student and teacher, both [N, V]; labels int64 [N], −1 for none.
DivergenceSums divergence(const torch::Tensor& student, const torch::Tensor& teacher,
                          const torch::Tensor& labels, double temperature);

/// The same; on return `student` holds the gradient of kl_weight·kl + ce_weight·cross_entropy for
/// the student's logits.
DivergenceSums divergence_and_gradient(torch::Tensor& student, const torch::Tensor& teacher,
                                       const torch::Tensor& labels, double temperature,
                                       double kl_weight, double ce_weight);

}  // namespace onebit::nn
