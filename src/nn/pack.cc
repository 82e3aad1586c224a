#include "nn/pack.h"

#include <torch/types.h>

#include "formats/sign1.h"

namespace onebit::nn {

std::vector<float> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

std::vector<std::uint64_t> pack_signs(const torch::Tensor& signs) {
  const torch::Tensor sign = signs.to(torch::kCPU).contiguous();
  const std::int64_t rows = sign.size(0);
  const std::int64_t cols = sign.size(1);
  const std::int64_t words = formats::sign1_row_words(cols);
  std::vector<std::uint64_t> packed(static_cast<std::size_t>(rows * words));
  const auto* data = sign.const_data_ptr<float>();
  for (std::int64_t row = 0; row < rows; ++row) {
    formats::sign1_pack_row({data + row * cols, static_cast<std::size_t>(cols)},
                            {packed.data() + row * words, static_cast<std::size_t>(words)});
  }
  return packed;
}

}  // namespace onebit::nn
