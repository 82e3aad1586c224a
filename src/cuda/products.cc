#include "cuda/products.h"

#include "cuda/product_kernels.h"

namespace onebit::cuda {
namespace {

/// Up to here a product with a few tokens is repeated for the next few instead: an estimate from
/// what each kernel does, not yet a measurement.
constexpr std::int64_t kFewTokens = 128;

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
