// ARB-LLM of one matrix (arXiv 2410.03129): BiLLM's blocks of columns and groups
// (quant/billm_solver.h), each group's binarisation refined (quant/arb_refinement.h).
//
// In a block, with s_ij = w_ij² / U_jj²:
//   salient columns  BiLLM's; of second order
//   split            the others' weights into large and small by a percentile of s that leaves the
//                    least error of s - ŝ: ŝ is s refined in the salient columns (by kRowsColumns
//                    for kRowsColumns, else by kPlain) and binarised, not refined, in both parts.
//                    The error is the mean square; for kInputs tr(D S Dᵀ), D = s - ŝ, S = XᵀX of
//                    the block
//   binarisation     refined in each of the three; large and small ones of first order
// Two bits a weight: kPlain and kInputs with levels of its row in its block as BiLLM, kRowsColumns
// with products of scales of rows and of columns. The publication's column-group bitmap, a split of
// the salient weights too, would take a third bit of every weight and is not here.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <torch/types.h>

#include "arch/code_matrix.h"
#include "formats/dtype.h"
#include "quant/arb_refinement.h"

namespace onebit::quant {

struct ArbOptions {
  Refinement refinement = Refinement::kRowsColumns;
  std::int64_t block = 128;
  double damping = 0.01;
  /// To which scales and levels are rounded before later blocks make up for what that loses; f64:
  /// not at all.
  formats::DType scales = formats::DType::kF16;
};

/// How the result is stored: two groups a block, salient columns and the others.
arch::CodeSpec arb_spec(std::int64_t in, const ArbOptions& options);

struct ArbResult {
  arch::CodeValues values;
  torch::Tensor weights;  ///< Ŵ, f64 [out, in]
};

/// W [out, in], finite; h f64 [in, in]. Throws as inverse_factor(), and Error{kNumeric} for scales
/// that their type cannot hold; Error{kInterrupted} between blocks.
ArbResult arb(std::span<const float> w, std::int64_t out, std::int64_t in, const torch::Tensor& h,
              const ArbOptions& options, const std::stop_token& stop = {});

}  // namespace onebit::quant
