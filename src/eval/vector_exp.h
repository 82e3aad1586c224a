// e^x of four floats at a time, for sums over a vocabulary: with std::exp in double these took a
// tenth of a small model's time. Vectors of the compiler, not of one instruction set: 16 bytes are
// in every 64-bit x86 and Arm, and results do not depend on what a machine has beyond them.
#pragma once

#include <cstdint>
#include <cstring>

namespace onebit::eval {

using Float4 = float __attribute__((vector_size(16)));
using Uint4 = std::uint32_t __attribute__((vector_size(16)));
using Double4 = double __attribute__((vector_size(32)));

inline Float4 load4(const float* x) noexcept {
  Float4 v;
  std::memcpy(&v, x, sizeof(v));
  return v;
}

/// The greater one; b where a is NaN.
inline Float4 max4(Float4 a, Float4 b) noexcept { return a > b ? a : b; }

/// sums += v, lane by lane.
inline void accumulate(Double4& sums, Float4 v) noexcept {
  sums += __builtin_convertvector(v, Double4);
}

/// The sum of the lanes.
inline double total(const Double4& sums) noexcept {
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// v where mask is all ones, 0 where it is 0.
template <class Mask>
inline Float4 keep(Mask mask, Float4 v) noexcept {
  return __builtin_bit_cast(Float4, __builtin_bit_cast(Uint4, v) & __builtin_bit_cast(Uint4, mask));
}

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
  Float4 p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = 1.0F + (r + r * r * p);
  // The low bits of `shifted` are n; the shift drops all that is above them.
  const Uint4 exponent = __builtin_bit_cast(Uint4, shifted) << 23U;
  return keep(counted, __builtin_bit_cast(Float4, __builtin_bit_cast(Uint4, p) + exponent));
}

/// The same of one float, for the end of a row.
inline float exp1(float x) noexcept { return exp4(Float4{x, x, x, x})[0]; }

}  // namespace onebit::eval
