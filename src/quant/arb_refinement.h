// ARB-LLM's alternating refinement of a binarisation (arXiv 2410.03129, sections 3.1 to 3.3), of
// the weights of a mask, row by row. Each step is the least-squares optimum of one unknown with the
// newest of the others.
//
// With w a row on the mask, n its weights, <,> sums over the mask, 0/0 = 0, first order:
//   kPlain         Ŵ = μ + α b, b = ±1: μ = mean(w - α b), α = <b, w - μ> / n, b = sign(w - μ)
//   kInputs        the same, and then with S = XᵀX (any multiple) and b fixed, 1 the mask:
//                  μ = 1ᵀS (w - α b) / 1ᵀS 1, α = bᵀS (w - μ 1) / bᵀS b
//   kRowsColumns   Ŵ_ij = r_i c_j b_ij, without μ; b = sign(w) stays: r_i = <c b, w> / <c b, c b>
//                  over the row, c_j = <r b, w> / <r b, r b> over the column
// Second order adds a second term α₂ b₂ (r' c' b'); each term is then fitted to what the other
// leaves, and both signs are those of the nearest of the four levels ± α₁ ± α₂ (± r c ± r' c').
#pragma once

#include <cstdint>
#include <torch/types.h>

#include "base/words.h"

namespace onebit::quant {

enum class Refinement : std::uint8_t {
  kRowsColumns,  ///< ARB-RC
  kPlain,        ///< ARB
  kInputs,       ///< ARB-X
};

/// Ŵ on a mask: mean + Σ_o scale_o · column_scale_o · sign_o.
struct RefinedTerms {
  torch::Tensor mean;          ///< [rows]; of kRowsColumns 0
  torch::Tensor scale;         ///< [order, rows]
  torch::Tensor column_scale;  ///< [order, columns]; undefined, but of kRowsColumns: 1
  torch::Tensor sign;          ///< [order, rows, columns], ±1

  /// Ŵ, 0 outside the mask.
  torch::Tensor value(const torch::Tensor& mask) const;
};

/// The authors' number of iterations, of either part of kInputs.
inline constexpr int kRefineIterations = 15;

/// w f64 [rows, columns], mask bool, order 1 or 2; kPlain or kRowsColumns, which start from
/// binarise() and from magnitudes' means.
RefinedTerms refine(Refinement kind, const torch::Tensor& w, const torch::Tensor& mask, int order,
                    int iterations = kRefineIterations);

/// The second part of kInputs, after kPlain, in place; s f64 [columns, columns].
void fit_to_inputs(RefinedTerms& terms, const torch::Tensor& w, const torch::Tensor& mask,
                   const torch::Tensor& s, int iterations = kRefineIterations);

}  // namespace onebit::quant

template <>
struct onebit::Words<onebit::quant::Refinement> {
  static constexpr Word<quant::Refinement> kAll[] = {
      {quant::Refinement::kRowsColumns, "rows-columns"},
      {quant::Refinement::kPlain, "plain"},
      {quant::Refinement::kInputs, "inputs"}};
};
