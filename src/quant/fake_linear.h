// A quantised matrix as a layer of the libtorch model.
#pragma once

#include <string>
#include <vector>

#include "arch/checkpoint.h"
#include "nn/linear.h"
#include "quant/method.h"

namespace onebit::quant {

/// y = x Ŵᵀ, or LN(x Ŵᵀ), never trained.
class FakeLinear final : public nn::Linear {
 public:
  FakeLinear(const FakeQuantized& quantized, torch::ScalarType compute)
      : weights_(torch::tensor(at::ArrayRef<float>(quantized.weights))
                     .view(quantized.report.shape)
                     .to(compute)),
        output_norm_(quantized.output_norm) {}

  torch::Tensor forward(const torch::Tensor& x) override {
    const torch::Tensor y = weights_.forward(x);
    if (!output_norm_) return y;
    return torch::layer_norm(y, {y.size(-1)}, {}, {}, arch::kOutputNormEps);
  }

  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

 private:
  nn::DenseLinear weights_;
  bool output_norm_;
};

}  // namespace onebit::quant
