// What the kernels of products share: their arguments, and the forms of a 1-bit matrix.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>
#include <limits>

#include "base/check.h"
#include "cuda/device.h"
#include "cuda/device_signs.h"
#include "cuda/sign_layout.h"

namespace onebit::cuda {

/// A product's matrix, size and result, as kernels get them.
struct Product {
  const LaneSigns* signs;
  const float* h;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t tokens;
  float* y;
  std::int64_t ldy;
};

inline Product product_of(const DeviceSigns& w, std::int64_t tokens, float* y, std::int64_t ldy) {
  return {w.signs(), w.h(), w.rows(), w.cols(), tokens, y, ldy};
}

// A form says which columns are summed exactly before anything is rounded (a unit), and how the
// sums become the result: a = next(a, ...) over the units in their order, from a = 0 on, then
// last(). With activations in f32 scale is 1.

/// One h a row, or none.
struct ByRow {
  static constexpr int kUnitCols = kBlockCols;
  static constexpr bool kGrouped = false;

  __device__ static float next(float a, float d, float scale, float) { return fmaf(d, scale, a); }
  __device__ static float last(float a, const float* h, std::int64_t row) {
    return h != nullptr ? a * __ldg(h + row) : a;
  }
};

/// One h for every kCols columns of a row.
template <int kCols>
struct ByGroup {
  static constexpr int kUnitCols = kCols;
  static constexpr bool kGrouped = true;

  __device__ static float next(float a, float d, float scale, float h) {
    return fmaf(d * scale, h, a);
  }
  __device__ static float last(float a, const float*, std::int64_t) { return a; }
};

/// visit(form) with the form of w.
template <class Visit>
void with_form(const DeviceSigns& w, const Visit& visit) {
  switch (w.group_size()) {
    case 16:
      return visit(ByGroup<16>{});
    case 32:
      return visit(ByGroup<32>{});
    case 64:
      return visit(ByGroup<64>{});
    case 128:
      return visit(ByGroup<128>{});
    default:
      return visit(ByRow{});
  }
}

/// Queues kernel(args...) with `blocks` blocks of `threads` threads.
template <class... Parameters, class... Arguments>
void launch(const Device& device, void (*kernel)(Parameters...), std::int64_t blocks, int threads,
            cudaStream_t stream, const Arguments&... args) {
  ONEBIT_CHECK(blocks <= std::numeric_limits<std::int32_t>::max());
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = device.early_start ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, args...), "starting a kernel");
}

}  // namespace onebit::cuda
