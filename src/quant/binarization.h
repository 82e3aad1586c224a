// What the methods that binarise groups of weights have in common (BiLLM, arXiv 2402.04291;
// ARB-LLM, arXiv 2410.03129): terms of mean and sign, the choice of groups, blocks of columns that
// make up for each other, and two-bit codes as they grow.
//
// A mask is bool [rows, columns]; everything else is f64. Rows are output channels.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <torch/types.h>
#include <vector>

#include "arch/code_matrix.h"
#include "formats/dtype.h"

namespace onebit::quant {

/// a / b, 0 where b is 0.
torch::Tensor quotient(const torch::Tensor& a, const torch::Tensor& b);

/// -1 or 1, of 0 1.
torch::Tensor sign_of(const torch::Tensor& t);

/// One term of a binarisation by rows: mean + scale · sign.
struct Term {
  torch::Tensor mean;   ///< [rows]
  torch::Tensor scale;  ///< [rows]
  torch::Tensor sign;   ///< [rows, columns], ±1
};

struct Binarised {
  std::vector<Term> terms;
  torch::Tensor value;  ///< their sum [rows, columns]; 0 outside the mask
};

/// `order` terms, each of what those before leave: its mean over the row's mask, scale = mean |left
/// - mean|, sign = sign(left - mean). A row without weights in the mask has mean = scale = 0.
Binarised binarise(const torch::Tensor& w, const torch::Tensor& mask, int order);

double mean_square(const torch::Tensor& t);

/// s = w² / U_jj², U the block's part of inverse_factor() (BiLLM, Algorithm 2).
torch::Tensor saliency(const torch::Tensor& w, const torch::Tensor& factor);

/// bool [columns]: the n of largest Σ_i |t_ij| whose separation leaves the least error when t
/// itself is binarised twice over in both parts; n = 1 … min(50, columns) - 1. One column alone is
/// not salient.
torch::Tensor salient_columns(const torch::Tensor& t);

/// mask [rows, columns], the large ones of `part`: |t| ≥ the threshold that leaves the least
/// error(large, others of the part), of the percentiles 10 … 90 of |t| with zeros outside the part.
torch::Tensor large_weights(
    const torch::Tensor& t, const torch::Tensor& part,
    const std::function<double(const torch::Tensor& large, const torch::Tensor& small)>& error);

/// W in f64, columns that no input reaches zero (what is stored of them is a level of their group:
/// no input sees it), and U, as inverse_factor() gives it.
struct Problem {
  torch::Tensor weights;
  torch::Tensor factor;
};

/// w [out, in], h f64 [in, in]. Throws as inverse_factor().
Problem problem_of(std::span<const float> w, std::int64_t out, std::int64_t in,
                   const torch::Tensor& h, double damping);

/// Replaces w [out, in] block by block of `block` columns by what `quantise(W_b, first column)`
/// says stands for them; columns after a block make up for its errors as in GPTQ: with E = (W_b -
/// Ŵ_b) / diag(U_bb), W_later -= E U_b,later; `factor` is U. Throws
/// Error{kInterrupted} between blocks.
void quantise_blocks(
    torch::Tensor& w, const torch::Tensor& factor, std::int64_t block, const std::stop_token& stop,
    const std::function<torch::Tensor(const torch::Tensor& w, std::int64_t begin)>& quantise);

/// Two groups a block, salient columns and then the others; one where a block has one column.
std::int64_t block_groups(std::int64_t in, std::int64_t block);

/// Codes of two bits with a level table a row and group.
arch::CodeSpec table_spec(std::int64_t in, std::int64_t block);

/// A matrix of two-bit codes, group after group in the file's order. Scales and levels are rounded
/// to a type that files have (f64: not at all); what it cannot hold throws Error{kNumeric}.
class GroupedCodes {
 public:
  GroupedCodes(std::int64_t out, std::int64_t in, std::int64_t groups, formats::DType type);

  /// Each adds those columns of a block, the first of which is column `begin`, that `columns`, bool
  /// [width], says, none or all: no group comes of none. `codes` i64 [rows, width]. Gives back what
  /// the codes stand for as stored [rows, width], whichever columns are of the group.
  ///
  /// By levels [rows, 4]:
  torch::Tensor add(const torch::Tensor& columns, std::int64_t begin, const torch::Tensor& codes,
                    const torch::Tensor& levels);

  /// By products of row_scale [2, rows] and column_scale [2, width] (arch/code_matrix.h):
  torch::Tensor add(const torch::Tensor& columns, std::int64_t begin, const torch::Tensor& codes,
                    arch::ProductKind kind, const torch::Tensor& row_scale,
                    const torch::Tensor& column_scale);

  /// All columns must have been added.
  arch::CodeValues finish() const;

 private:
  /// Codes and order; indices of the columns, i64.
  torch::Tensor place(const torch::Tensor& columns, std::int64_t begin, const torch::Tensor& codes);
  torch::Tensor rounded(const torch::Tensor& t) const;

  formats::DType type_;
  std::int64_t filled_ = 0;  ///< columns
  torch::Tensor codes_;      ///< u8 [out, in]
  torch::Tensor order_;      ///< i32 [in]
  torch::Tensor levels_;     ///< f32 [out, groups, 4]; what is not used stays undefined
  torch::Tensor row_scale_;  ///< f32 [out, groups, 2]
  torch::Tensor in_scale_;   ///< f32 [2, in]
  std::int64_t groups_;
  arch::CodeValues values_;
};

}  // namespace onebit::quant
