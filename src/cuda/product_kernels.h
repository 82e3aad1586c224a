// The kernels behind products.h: each takes every size, products.cc chooses.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "cuda/device_signs.h"
#include "kernels/kernels.h"

namespace onebit::cuda {

/// For a few tokens, bound by memory: blocks of threads share out the rows alone, warps the
/// columns (products_few.cu).
void few_tokens_f32(const DeviceSigns& w, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, cudaStream_t stream);
void few_tokens_i8(const DeviceSigns& w, const kernels::QuantizedRows& x, std::int64_t tokens,
                   float* y, std::int64_t ldy, cudaStream_t stream);

/// For many, bound by arithmetic: warps share out the rows, and a block of threads stages the
/// activations of 64 tokens for its warps (products_many.cu).
void many_tokens_i8(const DeviceSigns& w, const kernels::QuantizedRows& x, std::int64_t tokens,
                    float* y, std::int64_t ldy, cudaStream_t stream);

}  // namespace onebit::cuda
