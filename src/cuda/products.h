// Products of 1-bit matrices on a GPU: the equations of kernels.h over tokens in device memory.
//
// Every function queues its kernel on `stream` of the matrix's device, which must be the calling
// thread's current one, and returns: it allocates nothing, waits for nothing, and can be captured
// into a graph. Kernels work on the whole matrix. x, y and the rest are device memory; y must not
// alias x. Shapes are trusted, as in kernels.h. Each throws Error as check() does when the launch
// fails; what fails later shows in a later call.
//
// Where the device can (Device::early_start), a kernel begins before the one before it in the
// stream has ended, and loads weights until then: a matrix must not be written by a kernel of the
// stream that reads it.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "cuda/device.h"
#include "cuda/device_signs.h"
#include "kernels/kernels.h"

namespace onebit::cuda {

/// y[t, r] = h[r] Σ_c S[r, c] x[t, c] over T tokens, without h where the matrix has none, or Σ_c
/// W[r, c] x[t, c] where it has groups: x [T, cols], y [T, ldy]. The bounds of kernels.h; y[t, r]
/// is the same bit for bit whatever T is.
void gemm_sign1_f32(const DeviceSigns& w, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, cudaStream_t stream);

/// The same over int8 activations, as gemm_sign1_i8 of kernels.h or, where the matrix has groups,
/// gemm_sign1_grouped_i8: equal to them bit for bit. x.q is aligned to 16.
void gemm_sign1_i8(const DeviceSigns& w, const kernels::QuantizedRows& x, std::int64_t tokens,
                   float* y, std::int64_t ldy, cudaStream_t stream);

/// `tokens` tokens x ⊙ g [tokens, n], or x where g [n] is null, as QuantizedRows says; equal to
/// quantize_i8 of kernels.h, bit for bit. q is aligned to 4.
void quantize_i8(const Device& device, const float* x, const float* g, std::int64_t tokens,
                 std::int64_t n, std::int8_t* q, float* scales, cudaStream_t stream);

}  // namespace onebit::cuda
