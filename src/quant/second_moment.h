// What methods that compensate do with the second moment H of a matrix's inputs (GPTQ's code,
// github.com/IST-DASLab/gptq, has it so). H is the largest thing there is while a matrix is
// quantised (11008 inputs: 0.97 GB), so its factors take its place.
#pragma once

#include <torch/types.h>

namespace onebit::quant {

/// Columns that no input reaches (H_jj = 0): their weights become 0 and H_jj 1, in place;
/// `diagonal` is H's, [in], and may be a view of it.
void drop_dead_columns(const torch::Tensor& w, const torch::Tensor& diagonal);

/// H[order, order], in memory of its own; `order` i64 [in].
torch::Tensor permuted(const torch::Tensor& h, const torch::Tensor& order);

/// L lower triangular with L Lᵀ = H + damping · mean(diag H) I. `h` is f64 [in, in], contiguous,
/// and its memory becomes the result's. Throws Error{kNumeric} when that is not positive definite.
torch::Tensor damped_factor(torch::Tensor h, double damping);

/// U upper triangular with UᵀU = (H + damping · mean(diag H) I)⁻¹, in the memory of `h` likewise.
/// With J the reversal of rows: J (H + …) J = L Lᵀ gives U = J L⁻¹ J, without the inverse itself.
/// Throws as damped_factor().
torch::Tensor inverse_factor(torch::Tensor h, double damping);

}  // namespace onebit::quant
