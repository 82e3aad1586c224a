// What a model's logits are compared with, position by position: those of the same model in full
// precision, over the same tokens.
//
// N positions, D model, V vocabulary.
#pragma once

#include <cstdint>
#include <torch/types.h>
#include <vector>

namespace onebit::quant {

/// One value a position, in f64.
struct PositionScores {
  std::vector<double> kl;   ///< KL(p ‖ p̂), p of the reference and p̂ of what is compared, nats
  std::vector<double> nll;  ///< −log p̂(label)
};

class ReferenceLogits {
 public:
  /// hidden [N, D] after the output norm and head [V, D], of one type, f32 or f64; labels int64
  /// [N], what follows each position. `keep`: hold the N × V logits, else form them again, a slice
  /// at a time, whenever they are needed.
  ReferenceLogits(torch::Tensor hidden, torch::Tensor head, torch::Tensor labels, bool keep);

  /// Appends the scores of logits = hidden headᵀ, hidden [N, D]. With z the reference's logits, ẑ
  /// these and Z = logsumexp, KL = E_p[z − ẑ] − Z + Ẑ: exactly 0 where the logits are equal; the
  /// sums over V have the type's own rounding, a few 1e-7 nats a position in f32 (which may leave a
  /// KL that small below zero). Values that are not finite give scores that are not.
  void compare(const torch::Tensor& hidden, PositionScores& scores) const;

  /// The reference's own −log p(label).
  const std::vector<double>& nll() const noexcept { return nll_; }

 private:
  /// What the softmax of a slice needs.
  struct Slice {
    torch::Tensor max;              ///< [n, 1]
    std::vector<double> sum;        ///< Σ_v e^(z − max)
    std::vector<double> logsumexp;  ///< max + log(sum)
    torch::Tensor logits;           ///< [n, V]; undefined unless they are kept
  };

  static Slice normalise(const torch::Tensor& logits);
  torch::Tensor logits_of(const torch::Tensor& hidden, std::int64_t begin) const;
  void append_nll(const torch::Tensor& logits, const Slice& slice, std::int64_t begin,
                  std::vector<double>& nll) const;

  torch::Tensor hidden_;
  torch::Tensor head_;
  torch::Tensor labels_;
  std::vector<Slice> slices_;
  std::vector<double> nll_;
};

}  // namespace onebit::quant
