// e^x of four floats at a time, for sums over a vocabulary: with std::exp in double these took a
// tenth of a small model's time. Vectors of the compiler, not of one instruction set: 16 bytes are
// in every 64-bit x86 and Arm, and results do not depend on what a machine has beyond them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace onebit::eval {

using Float4 = float __attribute__((vector_size(16)));
using Uint4 = std::uint32_t __attribute__((vector_size(16)));
using Short8 = std::uint16_t __attribute__((vector_size(16)));
using Double2 = double __attribute__((vector_size(16)));

inline Float4 load4(const float* x) noexcept {
  Float4 v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}

/// v where mask is all ones, 0 where it is 0.
template <class Mask>
inline Float4 keep(Mask mask, Float4 v) noexcept {
  return __builtin_bit_cast(Float4, __builtin_bit_cast(Uint4, v) & __builtin_bit_cast(Uint4, mask));
}

/// Four sums in f64, a lane each.
struct Sum4 {
  Double2 low = {};
  Double2 high = {};

  void add(Float4 v) noexcept {
    low += __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1), Double2);
    high += __builtin_convertvector(__builtin_shufflevector(v, v, 2, 3), Double2);
  }
  void add(float v) noexcept { low[0] += static_cast<double>(v); }

  double total() const noexcept { return (low[0] + low[1]) + (high[0] + high[1]); }
};

/// e^x for x <= 0.1 within a relative 2^-23; 0 below -87, -infinity included.
///
/// x = n ln 2 + r, |r| <= ln 2 / 2 (a little more by rounding). ln 2 is split so that n · kLn2High
/// is exact, and x minus that is too (Sterbenz): r is off by the rounding of n · kLn2Low and of the
/// last difference, 2^-26 + 2^-29 in all. e^r = 1 + (r + r² p(r)), p that of Cephes' expf (off by
/// 2e-9), errs by at most 2^-26 (r² p) + 2^-26 (the inner sum) + 2^-24 (the outer one; 2^-25 below
/// 1): with that of r, less than 2^-23 of e^r. n goes into the exponent's bits.
inline Float4 exp4(Float4 x) noexcept {
  constexpr float kLeast = -87.0F;       // n >= -126, and r > 0 there: the result is normal
  constexpr float kRound = 12582912.0F;  // 1.5 · 2^23: the last bit of a sum is worth 1
  constexpr float kLog2E = 0x1.715476p0F;
  constexpr float kLn2High = 0x1.63p-1F;
  constexpr float kLn2Low = -0x1.bd0106p-13F;
  const auto counted = x >= kLeast;
  x = keep(counted, x);
  const Float4 shifted = x * kLog2E + kRound;
  const Float4 n = shifted - kRound;
  const Float4 r = (x - n * kLn2High) - n * kLn2Low;
  const Float4 r2 = r * r;
  // In pairs, which do not wait for one another.
  const Float4 p01 = r * 1.6666665459e-1F + 5.0000001201e-1F;
  const Float4 p23 = r * 8.3334519073e-3F + 4.1665795894e-2F;
  const Float4 p45 = r * 1.9875691500e-4F + 1.3981999507e-3F;
  const Float4 p = p01 + r2 * (p23 + r2 * p45);
  const Float4 power = 1.0F + (r + r2 * p);
  // The low bits of `shifted` are n; the shift drops all that is above them.
  const Uint4 exponent = __builtin_bit_cast(Uint4, shifted) << 23U;
  return keep(counted, __builtin_bit_cast(Float4, __builtin_bit_cast(Uint4, power) + exponent));
}

/// The same of one float, for the end of a row.
inline float exp1(float x) noexcept { return exp4(Float4{x, x, x, x})[0]; }

/// Where the greatest value is first; `values` holds one or more, 0 <= result < size even if some
/// are NaN.
template <class Vector, class T>
std::size_t first_greatest(std::span<const T> values) noexcept {
  constexpr std::size_t kLanes = sizeof(Vector) / sizeof(T);
  constexpr std::size_t kBlock = 32 * kLanes;  // in which one asks how large, then where
  const auto load = [&](std::size_t i) {
    Vector v;
    std::memcpy(&v, &values[i], sizeof(v));
    return v;
  };
  const auto greater = [](Vector a, Vector b) { return a > b ? a : b; };
  T best = values[0];
  std::size_t block = 0;  // where the best is first
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, values.size());
    T top = best;
    std::size_t i = begin;
    if (i + 2 * kLanes <= end) {
      Vector even = load(i);
      Vector odd = load(i + kLanes);
      for (i += 2 * kLanes; i + 2 * kLanes <= end; i += 2 * kLanes) {
        even = greater(load(i), even);
        odd = greater(load(i + kLanes), odd);
      }
      even = greater(odd, even);
      for (std::size_t lane = 0; lane < kLanes; ++lane) top = std::max(top, even[lane]);
    }
    for (; i < end; ++i) top = std::max(top, values[i]);
    if (top > best) {
      best = top;
      block = begin;
    }
  }
  const auto rest = values.subspan(block, std::min(kBlock, values.size() - block));
  const auto found = std::find(rest.begin(), rest.end(), best);
  return found == rest.end() ? block : block + static_cast<std::size_t>(found - rest.begin());
}

}  // namespace onebit::eval
