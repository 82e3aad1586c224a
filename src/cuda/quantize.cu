// Activations to int8, a warp a block of 128 columns. Bit for bit what the CPU's kernels give: the
// same divisions and roundings, and maxima of magnitudes, which have no order.
#include "cuda/instructions.cuh"
#include "cuda/product_forms.cuh"
#include "cuda/products.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;

constexpr int kWarps = 4;
constexpr int kLaneCols = kBlockCols / kLanes;
static_assert(kLaneCols == 4);
constexpr std::uint32_t kInfinity = 0x7F800000U;

__global__ void __launch_bounds__(kWarps* kLanes)
    quantize(const float* x, const float* g, std::int64_t tokens, std::int64_t n, std::int8_t* q,
             float* scales) {
  let_next_start();
  wait_for_previous();
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t blocks = QuantizedRows::blocks(n);
  const std::int64_t index =
      std::int64_t{blockIdx.x} * kWarps + static_cast<int>(threadIdx.x) / kLanes;
  if (index >= tokens * blocks) return;
  const std::int64_t token = index / blocks;
  const std::int64_t begin = index % blocks * kBlockCols + kLaneCols * lane;

  float values[kLaneCols];
  std::uint32_t max_bits = 0;  // as integers, magnitudes compare as the floats do, NaN above all
#pragma unroll
  for (int i = 0; i < kLaneCols; ++i) {
    const std::int64_t col = begin + i;
    values[i] = 0.0F;
    if (col < n) values[i] = g != nullptr ? x[token * n + col] * g[col] : x[token * n + col];
    max_bits = max(max_bits, __float_as_uint(values[i]) & 0x7FFFFFFFU);
  }
  max_bits = __reduce_max_sync(0xFFFFFFFFU, max_bits);

  const float max = __uint_as_float(max_bits);
  const bool finite = max_bits < kInfinity;
  float scale = finite ? 0.0F : __uint_as_float(0x7FC00000U);
  std::uint32_t bytes = 0;
  if (finite && max >= kernels::kQuantizeZeroBelow) {
    scale = max / 127.0F;
#pragma unroll
    for (int i = 0; i < kLaneCols; ++i) {
      const int rounded = __float2int_rn(values[i] / scale);
      bytes |= (static_cast<std::uint32_t>(rounded) & 0xFFU) << (8 * i);
    }
  }
  if (lane == 0) scales[index] = scale;
  const std::int64_t stride = QuantizedRows::stride(n);
  if (begin < stride) *reinterpret_cast<std::uint32_t*>(q + token * stride + begin) = bytes;
}

}  // namespace

void quantize_i8(const Device& device, const float* x, const float* g, std::int64_t tokens,
                 std::int64_t n, std::int8_t* q, float* scales, cudaStream_t stream) {
  if (tokens == 0) return;
  const std::int64_t warps = tokens * QuantizedRows::blocks(n);
  launch(device, quantize, (warps + kWarps - 1) / kWarps, kWarps * kLanes, stream, x, g, tokens, n,
         q, scales);
}

}  // namespace onebit::cuda
