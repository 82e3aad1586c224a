// IEEE binary16 and bfloat16 <-> binary32, exact in both directions and rounding to nearest even.
// These are the readable references; kernels/ has the vector versions tested against them.
#pragma once

#include <bit>
#include <cstdint>

namespace onebit {

using f16_bits = std::uint16_t;   ///< IEEE 754 binary16 as its bits
using bf16_bits = std::uint16_t;  ///< bfloat16 as its bits

inline float f16_to_f32(f16_bits h) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
  const std::uint32_t exponent = (h >> 10) & 0x1FU;
  const std::uint32_t mantissa = h & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;  // subnormal: exact in f32
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

/// Round to nearest even; overflow gives infinity, NaN stays NaN (quiet).
inline f16_bits f32_to_f16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<f16_bits>(sign | 0x7E00U);
  if (magnitude >= 0x47800000U) return static_cast<f16_bits>(sign | 0x7C00U);  // >= 2^16
  if (magnitude < 0x38800000U) {  // below 2^-14: adding 0.5 rounds at binary16's subnormal step
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<f16_bits>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3F000000U));
  }
  const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<f16_bits>(sign | ((rounded - 0x38000000U) >> 13));
}

inline float bf16_to_f32(bf16_bits b) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b) << 16);
}

/// Round to nearest even; NaN stays NaN (quiet).
inline bf16_bits f32_to_bf16(float value) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<bf16_bits>((bits >> 16) | 0x40U);
  return static_cast<bf16_bits>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace onebit
