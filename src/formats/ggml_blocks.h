// The block layouts of GGUF's quantised types, bit for bit as ggml stores them (little endian).
// d and m are binary16 scales; w is the dequantised weight. Decoders: dequantize.h.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace onebit::formats {

inline constexpr std::uint32_t kQuantBlock = 32;   ///< weights per block of the *_0 and *_1 types
inline constexpr std::uint32_t kSuperBlock = 256;  ///< weights per super-block of the *_K types

/// w = (q - 8) d; low nibbles are weights 0..15, high nibbles 16..31.
struct BlockQ4_0 {
  f16_bits d;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

/// w = q d + m; nibbles as in Q4_0.
struct BlockQ4_1 {
  f16_bits d;
  f16_bits m;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

/// w = (q - 16) d; bit 4 of weight i is bit i of qh.
struct BlockQ5_0 {
  f16_bits d;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

/// w = q d + m.
struct BlockQ5_1 {
  f16_bits d;
  f16_bits m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

/// w = q d.
struct BlockQ8_0 {
  f16_bits d;
  std::int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

/// 16 groups of 16: w = d (scale & 15) q - dmin (scale >> 4), 2 bits a weight.
struct BlockQ2K {
  std::uint8_t scales[16];
  std::uint8_t qs[64];
  f16_bits d;
  f16_bits dmin;
};
static_assert(sizeof(BlockQ2K) == 84);

/// 16 groups of 16: w = d (scale - 32) q, q in -4..3, high bit in hmask, 6-bit scales packed in 12.
struct BlockQ3K {
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];
  f16_bits d;
};
static_assert(sizeof(BlockQ3K) == 110);

/// 8 groups of 32: w = d scale q - dmin min, 6-bit scales and mins packed in 12 bytes.
struct BlockQ4K {
  f16_bits d;
  f16_bits dmin;
  std::uint8_t scales[12];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ4K) == 144);

/// As Q4_K with a fifth bit in qh.
struct BlockQ5K {
  f16_bits d;
  f16_bits dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ5K) == 176);

/// 16 groups of 16: w = d scale (q - 32), 6 bits a weight in ql (low 4) and qh (high 2).
struct BlockQ6K {
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  f16_bits d;
};
static_assert(sizeof(BlockQ6K) == 210);

}  // namespace onebit::formats
