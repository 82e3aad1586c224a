// GPTQ of one matrix (arXiv 2210.17323, algorithm 1; gptq.py of github.com/IST-DASLab/gptq where
// the paper is silent): columns are rounded one after the other, and what each loses is made up for
// by those that are still to come.
//
//   H = second moment of the inputs, H_jj += damping · mean(diag H);  UᵀU = H⁻¹, U upper triangular
//   for each column i, in order:  q = grid(w_i),  e = (w_i - q) / U_ii,  w_k -= e U_ik for k > i
//
// which makes Σ e² / 2 = tr(D H Dᵀ) / 2, D = W - Ŵ. Columns that no input reaches (H_jj = 0) become
// zero, with H_jj = 1, or the level nearest to it where the grid has no zero (1 bit).
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <torch/types.h>

#include "arch/code_matrix.h"
#include "base/thread_pool.h"
#include "quant/grid.h"

namespace onebit::quant {

struct GptqOptions {
  GridOptions grid;
  std::int64_t group_size = 0;  ///< 0: one grid a row
  double damping = 0.01;
  bool act_order = false;  ///< columns by falling H_jj, equal ones in their own order
  /// Groups of the original columns with grids from W itself. Else a group is consecutive in the
  /// order of rounding, and its grid is taken when its first column comes up, from W as compensated
  /// for all earlier blocks.
  bool static_groups = false;
  /// Columns after which all later ones are compensated at once. Changes nothing but the time, and
  /// the grids of groups that are not static.
  std::int64_t block = 128;

  bool ordered() const noexcept { return act_order && !static_groups && group_size > 0; }
};

/// W [out, in], finite; h f64 [in, in], a second moment of inputs of any scale. Throws
/// Error{kNumeric} when H is not positive definite for all its damping; Error{kInterrupted} between
/// blocks.
arch::CodeValues gptq(std::span<const float> w, std::int64_t out, std::int64_t in,
                      const torch::Tensor& h, const GptqOptions& options, ThreadPool& pool,
                      const std::stop_token& stop = {});

}  // namespace onebit::quant
