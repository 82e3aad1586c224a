// A linear layer of two trainable factors.
#pragma once

#include "arch/packed_writer.h"
#include "nn/linear.h"

namespace onebit::nn {

/// y = (x Bᵀ) Aᵀ, both trained.
class LowRankLinear final : public StoredLinear {
 public:
  /// a [out, r] and b [r, in] become the layer's parameters.
  LowRankLinear(const torch::Tensor& a, const torch::Tensor& b);

  torch::Tensor forward(const torch::Tensor& x) override;
  void collect(const std::string& prefix, std::vector<Parameter>& out) const override;
  void add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const override;

 private:
  torch::Tensor a_;
  torch::Tensor b_;
};

}  // namespace onebit::nn
