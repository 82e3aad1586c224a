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
  const __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-5);
  // An array of sums would live in memory, and each turn would wait for its stores.
  __m512i s0 = _mm512_set1_epi32(seed), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0;
  __m512i s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
  for (std::int64_t i = 0; i < kTurns; ++i) {
    asm volatile(
        "vpdpbusd %[b], %[a], %0\n\tvpdpbusd %[b], %[a], %1\n\tvpdpbusd %[b], %[a], %2\n\t"
        "vpdpbusd %[b], %[a], %3\n\tvpdpbusd %[b], %[a], %4\n\tvpdpbusd %[b], %[a], %5\n\t"
        "vpdpbusd %[b], %[a], %6\n\tvpdpbusd %[b], %[a], %7\n\tvpdpbusd %[b], %[a], %8\n\t"
        "vpdpbusd %[b], %[a], %9\n\tvpdpbusd %[b], %[a], %10\n\tvpdpbusd %[b], %[a], %11"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8),
          "+v"(s9), "+v"(s10), "+v"(s11)
        : [a] "v"(a), [b] "v"(b));
  }
  const __m512i sums[kSums] = {s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11};
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
