// A layer of a packed model that changes its inputs before it multiplies them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/activations.h"
#include "nn/linear.h"

namespace onebit::nn {

/// inner(apply_rule(x)).
class RuledLinear final : public Linear {
 public:
  RuledLinear(std::unique_ptr<Linear> inner, const arch::ActivationRule& rule, double norm_eps)
      : inner_(std::move(inner)), rule_(rule), norm_eps_(norm_eps) {}

  torch::Tensor forward(const torch::Tensor& x) override {
    return inner_->forward(apply_rule(rule_, norm_eps_, x));
  }
  void collect(const std::string& prefix, std::vector<Parameter>& out) const override {
    inner_->collect(prefix, out);
  }

 private:
  std::unique_ptr<Linear> inner_;
  arch::ActivationRule rule_;
  double norm_eps_;
};

}  // namespace onebit::nn
