// Kernels for AVX2, FMA and F16C: Intel from Haswell, AMD from Excavator on.
#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <cstddef>
#include <immintrin.h>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("avx2,fma,f16c")
namespace onebit::kernels {

extern const KernelSet kernels_avx2;

namespace {

constexpr std::int32_t kFlip = 0;

/// Two products, of bytes up to 128 and activations within ±127, are what 16 bits hold.
ONEBIT_INLINE __m256i add_products(__m256i sums, __m256i w, __m256i q) {
  const __m256i pairs = _mm256_maddubs_epi16(w, q);
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/// vpmaddubsw wants one side unsigned: |w| and q with w's sign.
ONEBIT_INLINE __m256i add_signed_products(__m256i sums, __m256i w, __m256i q) {
  return add_products(sums, _mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
}

#include "kernels/avx2_inl.h"

}  // namespace

constexpr KernelSet kernels_avx2 = {
    .name = "avx2",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
