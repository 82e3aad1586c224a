#include "int8_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/target_region.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace onebit::bench {
namespace {

#if defined(__x86_64__)
constexpr std::int64_t kTurns = 4'000'000;
/// Sums under way: more than the latency times the products a cycle.
constexpr int kSums = 12;

ONEBIT_TARGET_BEGIN("avx512f,avx512vnni")
std::int32_t multiply_add(std::int32_t seed) {
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_set1_epi32(seed);
  const __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-5);
  for (std::int64_t i = 0; i < kTurns; ++i) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, a, b);
      asm volatile("" : "+v"(sum));  // or the loop is worked out beforehand
    }
  }
  __m512i total = sums[0];
  for (int i = 1; i < kSums; ++i) total = _mm512_add_epi32(total, sums[i]);
  alignas(64) std::int32_t lanes[16];
  _mm512_store_si512(lanes, total);
  return lanes[0];
}
ONEBIT_TARGET_END
#endif

}  // namespace

double int8_peak(int threads) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vnni")) {
    ThreadPool pool(threads);
    double best = 0;
    for (int pass = 0; pass < 3; ++pass) {
      const auto begin = std::chrono::steady_clock::now();
      pool.parallel_for(threads, 1, [&](std::int64_t, std::int64_t, int worker) {
        const volatile std::int32_t used = multiply_add(worker);
        static_cast<void>(used);
      });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, 2.0 * 64 * kSums * kTurns * threads / seconds.count());
    }
    return best;
  }
#endif
  static_cast<void>(threads);
  return 0;
}

}  // namespace onebit::bench
