// From tensors to what arch::PackedWriter takes.
#pragma once

#include <cstdint>
#include <torch/types.h>
#include <vector>

namespace onebit::nn {

/// The elements as f32, row-major.
std::vector<float> values_of(const torch::Tensor& tensor);

/// S [out, in] of -1 and +1 in f32, as formats::Sign1View has them.
std::vector<std::uint64_t> pack_signs(const torch::Tensor& signs);

}  // namespace onebit::nn
