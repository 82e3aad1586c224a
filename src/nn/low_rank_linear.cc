#include "nn/low_rank_linear.h"

#include <torch/utils.h>

#include "base/check.h"
#include "nn/fused.h"
#include "nn/pack.h"

namespace onebit::nn {

LowRankLinear::LowRankLinear(const torch::Tensor& a, const torch::Tensor& b)
    : a_(a.detach().contiguous().requires_grad_()), b_(b.detach().contiguous().requires_grad_()) {
  ONEBIT_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0));
}

torch::Tensor LowRankLinear::forward(const torch::Tensor& x) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = a_.size(0);
  const torch::Tensor rows = x.reshape({-1, b_.size(1)});
  return product(product(rows, b_.t().to(x.scalar_type())), a_.t().to(x.scalar_type()))
      .to(x.scalar_type())
      .view(shape);
}

void LowRankLinear::collect(const std::string& prefix, std::vector<Parameter>& out) const {
  out.push_back({prefix + ".out_factor", a_, ParameterKind::kLatent});
  out.push_back({prefix + ".in_factor", b_, ParameterKind::kLatent});
}

void LowRankLinear::add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const {
  writer.add_low_rank(role, layer, values_of(a_), values_of(b_));
}

}  // namespace onebit::nn
