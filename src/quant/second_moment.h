// What methods that compensate do with the second moment H of a matrix's inputs (GPTQ's code,
// github.com/IST-DASLab/gptq, has it so).
#pragma once

#include <torch/types.h>

namespace onebit::quant {

/// Columns that no input reaches (H_jj = 0): their weights become 0 and H_jj 1, in place.
void drop_dead_columns(torch::Tensor& w, torch::Tensor& h);

/// L lower triangular with L Lᵀ = H + damping · mean(diag H) I. Throws Error{kNumeric} when that is
/// not positive definite.
torch::Tensor damped_factor(const torch::Tensor& h, double damping);

/// U upper triangular with UᵀU = (H + damping · mean(diag H) I)⁻¹. Throws as damped_factor().
torch::Tensor inverse_factor(const torch::Tensor& h, double damping);

}  // namespace onebit::quant
