// Kernels for AVX2 and AVX-VNNI, which has AVX-512's products of bytes for vectors of 256 bits:
// Intel without AVX-512 from Alder Lake on.
#include "kernels/kernels.h"

#if defined(__x86_64__)

#include <cstddef>
#include <immintrin.h>

#include "kernels/target_region.h"

ONEBIT_TARGET_BEGIN("avx2,fma,f16c,avxvnni")
namespace onebit::kernels {

extern const KernelSet kernels_avxvnni;

namespace {

/// Bytes of q8_0 are unsigned, as vpdpbusd wants one side of its products.
constexpr std::int32_t kFlip = 0x80;

ONEBIT_INLINE __m256i add_products(__m256i sums, __m256i w, __m256i q) {
  return _mm256_dpbusd_avx_epi32(sums, w, q);
}
ONEBIT_INLINE __m256i add_signed_products(__m256i sums, __m256i w, __m256i q) {
  return add_products(sums, w, q);
}

#include "kernels/avx2_inl.h"

}  // namespace

constexpr KernelSet kernels_avxvnni = {
    .name = "avxvnni",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
ONEBIT_TARGET_END

#endif
