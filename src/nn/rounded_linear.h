// Layers whose weights are rounded in every forward pass and trained through the rounding:
// LLM-QAT's and BitNet's.
#pragma once

#include <cstdint>
#include <torch/types.h>

#include "arch/packed_writer.h"
#include "nn/linear.h"

namespace onebit::nn {

/// Ŵ of W [out, in]. Rounding is half to even, sign(0) = +1.
enum class WeightRounding : std::uint8_t {
  /// Of N bits: a_r · round(w / a_r), a_r = max |W_r| / (2^(N-1) - 1) of each row. LLM-QAT (arXiv
  /// 2305.17888, section 2.2).
  kRows,
  /// mean |W| · sign(W - mean W). BitNet (arXiv 2310.11453, section 2.1).
  kSign,
  /// γ · clamp(round(W / γ), -1, 1), γ = max(mean |W|, 10^-5). BitNet b1.58 (arXiv 2402.17764).
  kTernary,
};

struct RoundedOptions {
  WeightRounding weights = WeightRounding::kRows;
  int bits = 4;  ///< kRows: 2 to 8
  arch::ActivationRule inputs;
  double norm_eps = 0;  ///< of the rule's norm
};

/// How a packed file stores such a layer.
arch::Storage storage_of(const RoundedOptions& options);

/// Ŵ in W's type, no gradient.
torch::Tensor round_weights(const torch::Tensor& w, const RoundedOptions& options);

/// y = q(norm(x)) Ŵᵀ. The gradient of W is that of Ŵ, the gradient of q(n) is that of n.
class RoundedLinear final : public StoredLinear {
 public:
  /// weight [out, in] becomes the layer's parameter.
  RoundedLinear(torch::Tensor weight, const RoundedOptions& options);

  torch::Tensor forward(const torch::Tensor& x) override;
  void save_memory() noexcept override { keeps_matrix_ = false; }
  void collect(const std::string& prefix, std::vector<Parameter>& out) const override;
  void add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const override;

  const torch::Tensor& weight() const noexcept { return weight_; }

 private:
  /// Ŵ in the type in which it is multiplied, computed once per change of W where it may be kept.
  torch::Tensor matrix_for(torch::ScalarType dtype);

  torch::Tensor weight_;
  RoundedOptions options_;
  bool keeps_matrix_ = true;
  torch::Tensor matrix_;
  std::uint32_t version_ = 0;
};

}  // namespace onebit::nn
