#include "cuda/products.h"

#include "cuda/product_kernels.h"

namespace onebit::cuda {
namespace {

/// Where the two kernels take as long on an H200: bench_cuda's last table, 4096 × 4096.
constexpr std::int64_t kFewTokens = 96;

}  // namespace

void gemm_sign1_f32(const DeviceSigns& w, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, cudaStream_t stream) {
  if (tokens == 0) return;
  few_tokens_f32(w, x, tokens, y, ldy, stream);
}

void gemm_sign1_i8(const DeviceSigns& w, const kernels::QuantizedRows& x, std::int64_t tokens,
                   float* y, std::int64_t ldy, cudaStream_t stream) {
  if (tokens == 0) return;
  if (tokens <= kFewTokens) {
    few_tokens_i8(w, x, tokens, y, ldy, stream);
  } else {
    many_tokens_i8(w, x, tokens, y, ldy, stream);
  }
}

}  // namespace onebit::cuda
