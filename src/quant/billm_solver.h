// BiLLM of one matrix (arXiv 2402.04291, in the form of its authors' program,
// github.com/Aaronhuang-778/BiLLM, from which the published results come).
//
// Blocks of columns, one after the other, later columns making up for the errors of earlier blocks
// as in GPTQ (quant/second_moment.h: H, U). In a block, with s_ij = w_ij² / U_jj²:
//   salient columns  the n of largest Σ_i s_ij whose separation leaves the least error when s
//   itself
//                    is binarised twice over in both parts; n = 1 … min(50, columns) - 1
//   split            the others' weights into large and small by a threshold on s, one of its 81
//                    percentiles 10 … 90, that leaves the least error of s
//   binarisation     by rows: salient columns w ≈ m₁ + a₁ b₁ + m₂ + a₂ b₂, the second of what the
//                    first leaves; large and small ones w ≈ m + a b; b = ±1, m = mean, a = mean |w
//                    - m|
// Each weight so has one of four levels of its row in its block, by two bits.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <torch/types.h>

#include "arch/code_matrix.h"
#include "formats/dtype.h"

namespace onebit::quant {

struct BillmOptions {
  std::int64_t block = 128;
  double damping = 0.01;
  formats::DType levels = formats::DType::kF16;  ///< to which levels are rounded; f64: not at all
};

/// How the result is stored: two groups a block, salient columns and the others.
arch::CodeSpec billm_spec(std::int64_t in, std::int64_t block);

struct BillmResult {
  arch::CodeValues values;
  torch::Tensor weights;  ///< Ŵ, f64 [out, in]
};

/// W [out, in], finite; h f64 [in, in]. Throws as inverse_factor(), and Error{kNumeric} for levels
/// that their type cannot hold; Error{kInterrupted} between blocks.
BillmResult billm(std::span<const float> w, std::int64_t out, std::int64_t in,
                  const torch::Tensor& h, const BillmOptions& options,
                  const std::stop_token& stop = {});

}  // namespace onebit::quant
