// One short decoder per block type, written from the layout's definition. Products and sums are
// rounded one by one, in the order of Python's `gguf`: this is what makes results equal bit for
// bit, and why no expression here may be contracted into a fused multiply-add.
#include "formats/dequantize.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"
#include "base/half.h"
#include "formats/ggml_blocks.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace onebit::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "stored elements are little endian");

/// Nibble i of a block of 32: the low nibbles are weights 0..15, the high ones 16..31.
int nibble(const std::uint8_t (&qs)[16], std::uint32_t i) noexcept {
  return i < 16 ? qs[i] & 0x0F : qs[i - 16] >> 4;
}

/// Bit i of a block of 32, moved to bit 4.
int fifth_bit(const std::uint8_t (&qh)[4], std::uint32_t i) noexcept {
  return ((qh[i / 8] >> (i % 8)) & 1) << 4;
}

void decode(const BlockQ4_0& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  for (std::uint32_t i = 0; i < kQuantBlock; ++i)
    w[i] = d * static_cast<float>(nibble(b.qs, i) - 8);
}

void decode(const BlockQ4_1& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  const float m = f16_to_f32(b.m);
  for (std::uint32_t i = 0; i < kQuantBlock; ++i)
    w[i] = d * static_cast<float>(nibble(b.qs, i)) + m;
}

void decode(const BlockQ5_0& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  for (std::uint32_t i = 0; i < kQuantBlock; ++i) {
    w[i] = d * static_cast<float>((nibble(b.qs, i) | fifth_bit(b.qh, i)) - 16);
  }
}

void decode(const BlockQ5_1& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  const float m = f16_to_f32(b.m);
  for (std::uint32_t i = 0; i < kQuantBlock; ++i) {
    w[i] = d * static_cast<float>(nibble(b.qs, i) | fifth_bit(b.qh, i)) + m;
  }
}

void decode(const BlockQ8_0& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  for (std::uint32_t i = 0; i < kQuantBlock; ++i) w[i] = static_cast<float>(b.qs[i]) * d;
}

/// Two bits of weight i: byte i%32 of its half (128 weights), two bits a group of 32.
int two_bits(const std::uint8_t (&qs)[64], std::uint32_t i) noexcept {
  return (qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
}

void decode(const BlockQ2K& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  const float dmin = f16_to_f32(b.dmin);
  for (std::uint32_t i = 0; i < kSuperBlock; ++i) {
    const int scale = b.scales[i / 16];
    const float step = d * static_cast<float>(scale & 0x0F);
    const float low = dmin * static_cast<float>(scale >> 4);
    w[i] = step * static_cast<float>(two_bits(b.qs, i)) - low;
  }
}

void decode(const BlockQ3K& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  for (std::uint32_t i = 0; i < kSuperBlock; ++i) {
    // Scale g of 16: low four bits in nibble g/8 of byte g%8, high two in byte 8 + g%4.
    const std::uint32_t g = i / 16;
    const int low = (b.scales[g % 8] >> (g / 8 * 4)) & 0x0F;
    const int high = (b.scales[8 + g % 4] >> (g / 4 * 2)) & 3;
    const float step = d * static_cast<float>((low | (high << 4)) - 32);
    const int offset = ((b.hmask[i % 32] >> (i / 32)) & 1) != 0 ? 0 : 4;  // a set bit: no offset
    w[i] = step * static_cast<float>(two_bits(b.qs, i) - offset);
  }
}

struct ScaleMin {
  int scale;
  int min;
};

/// Group g of 8 in Q4_K and Q5_K: groups 0..3 hold six bits in one byte; groups 4..7 hold four in
/// bytes 8..11 and the two upper bits on top of the bytes of groups 0..3.
ScaleMin scale_min(const std::uint8_t (&s)[12], std::uint32_t g) noexcept {
  if (g < 4) return {s[g] & 0x3F, s[g + 4] & 0x3F};
  return {(s[g + 4] & 0x0F) | ((s[g - 4] >> 2) & 0x30), (s[g + 4] >> 4) | ((s[g] >> 2) & 0x30)};
}

/// Low four bits of weight i: byte i%32 of its chunk of 64, low nibble for the first 32.
int chunk_nibble(const std::uint8_t (&qs)[128], std::uint32_t i) noexcept {
  return (qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 0x0F;
}

void decode(const BlockQ4K& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  const float dmin = f16_to_f32(b.dmin);
  for (std::uint32_t i = 0; i < kSuperBlock; ++i) {
    const ScaleMin group = scale_min(b.scales, i / 32);
    const float step = d * static_cast<float>(group.scale);
    const float low = dmin * static_cast<float>(group.min);
    w[i] = step * static_cast<float>(chunk_nibble(b.qs, i)) - low;
  }
}

void decode(const BlockQ5K& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  const float dmin = f16_to_f32(b.dmin);
  for (std::uint32_t i = 0; i < kSuperBlock; ++i) {
    const ScaleMin group = scale_min(b.scales, i / 32);
    const float step = d * static_cast<float>(group.scale);
    const float low = dmin * static_cast<float>(group.min);
    const int high = (b.qh[i % 32] >> (i / 32)) & 1;
    w[i] = step * static_cast<float>(chunk_nibble(b.qs, i) | (high << 4)) - low;
  }
}

void decode(const BlockQ6K& b, float* w) noexcept {
  const float d = f16_to_f32(b.d);
  for (std::uint32_t i = 0; i < kSuperBlock; ++i) {
    const std::uint32_t half = i / 128;
    const std::uint32_t group = i / 16;
    const float step = d * static_cast<float>(b.scales[group]);
    const int low = (b.ql[half * 64 + i % 64] >> (i % 128 / 64 * 4)) & 0x0F;
    const int high = (b.qh[half * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
    w[i] = step * static_cast<float>((low | (high << 4)) - 32);
  }
}

template <class Block, std::uint32_t kWeights>
void decode_blocks(std::span<const std::byte> src, std::span<float> dst) noexcept {
  for (std::size_t i = 0; i < dst.size() / kWeights; ++i) {
    Block block;
    std::memcpy(&block, src.data() + i * sizeof block, sizeof block);
    decode(block, dst.data() + i * kWeights);
  }
}

template <class T, class Convert>
void decode_plain(std::span<const std::byte> src, std::span<float> dst, Convert convert) noexcept {
  for (std::size_t i = 0; i < dst.size(); ++i) {
    T value;
    std::memcpy(&value, src.data() + i * sizeof value, sizeof value);
    dst[i] = convert(value);
  }
}

constexpr auto kByValue = [](auto value) { return static_cast<float>(value); };

[[noreturn]] void throw_numeric(DType type, std::size_t index, float value) {
  throw Error(ErrorCode::kNumeric,
              fmt::format("element {}: found {}, expected a value that {} holds", index, value,
                          info(type).name));
}

/// The place of a block's largest magnitude; every value must be finite.
std::size_t largest_of(DType type, std::span<const float> w, std::size_t begin) {
  std::size_t largest = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (!std::isfinite(w[i])) throw_numeric(type, begin + i, w[i]);
    if (std::fabs(w[i]) > std::fabs(w[largest])) largest = i;
  }
  return largest;
}

/// 1 / d, or 0 where that is infinite: d is then far below binary16's least value, and all weights
/// read as zero.
float inverse_of(float d) {
  const float inverse = d == 0.0F ? 0.0F : 1.0F / d;
  return std::isinf(inverse) ? 0.0F : inverse;
}

/// put(block, w, 1 / d) for every block, d = scale_of(its value of largest magnitude).
template <class Block, class ScaleOf, class Put>
void encode_blocks(DType type, std::span<const float> src, std::span<std::byte> dst,
                   ScaleOf scale_of, Put put) {
  for (std::size_t begin = 0; begin < src.size(); begin += kQuantBlock) {
    const auto w = src.subspan(begin, kQuantBlock);
    const std::size_t largest = largest_of(type, w, begin);
    const float d = scale_of(w[largest]);
    Block block = {};
    block.d = f32_to_f16(d);
    if (std::isinf(f16_to_f32(block.d))) throw_numeric(type, begin + largest, w[largest]);
    put(block, w, inverse_of(d));
    std::memcpy(dst.data() + begin / kQuantBlock * sizeof block, &block, sizeof block);
  }
}

void encode_q8_0(std::span<const float> src, std::span<std::byte> dst) {
  encode_blocks<BlockQ8_0>(
      DType::kQ8_0, src, dst, [](float largest) { return std::fabs(largest) / 127.0F; },
      [](BlockQ8_0& block, std::span<const float> w, float inverse) {
        for (std::size_t i = 0; i < w.size(); ++i) {
          block.qs[i] = static_cast<std::int8_t>(std::round(w[i] * inverse));
        }
      });
}

void encode_q4_0(std::span<const float> src, std::span<std::byte> dst) {
  encode_blocks<BlockQ4_0>(
      DType::kQ4_0, src, dst, [](float largest) { return largest / -8.0F; },
      [](BlockQ4_0& block, std::span<const float> w, float inverse) {
        // The largest gets q = 0; the opposite of it, 16, does not fit.
        const auto nibble = [&](std::size_t i) {
          return std::min(15, static_cast<int>(w[i] * inverse + 8.5F));
        };
        for (std::size_t i = 0; i < 16; ++i) {
          block.qs[i] = static_cast<std::uint8_t>(nibble(i) | nibble(i + 16) << 4);
        }
      });
}

template <class Encode, class Decode>
void encode_half(DType type, std::span<const float> src, std::span<std::byte> dst, Encode encode,
                 Decode decode_half) {
  for (std::size_t i = 0; i < src.size(); ++i) {
    const std::uint16_t value = encode(src[i]);
    if (std::isfinite(src[i]) && !std::isfinite(decode_half(value))) {
      throw_numeric(type, i, src[i]);
    }
    std::memcpy(dst.data() + i * sizeof value, &value, sizeof value);
  }
}

}  // namespace

void dequantize(DType type, std::span<const std::byte> src, std::span<float> dst) noexcept {
  switch (type) {
    case DType::kF64:
      return decode_plain<double>(src, dst, kByValue);
    case DType::kF32:
      return decode_plain<float>(src, dst, kByValue);
    case DType::kF16:
      return decode_plain<f16_bits>(src, dst, f16_to_f32);
    case DType::kBF16:
      return decode_plain<bf16_bits>(src, dst, bf16_to_f32);
    case DType::kI8:
      return decode_plain<std::int8_t>(src, dst, kByValue);
    case DType::kI16:
      return decode_plain<std::int16_t>(src, dst, kByValue);
    case DType::kI32:
      return decode_plain<std::int32_t>(src, dst, kByValue);
    case DType::kI64:
      return decode_plain<std::int64_t>(src, dst, kByValue);
    case DType::kQ4_0:
      return decode_blocks<BlockQ4_0, kQuantBlock>(src, dst);
    case DType::kQ4_1:
      return decode_blocks<BlockQ4_1, kQuantBlock>(src, dst);
    case DType::kQ5_0:
      return decode_blocks<BlockQ5_0, kQuantBlock>(src, dst);
    case DType::kQ5_1:
      return decode_blocks<BlockQ5_1, kQuantBlock>(src, dst);
    case DType::kQ8_0:
      return decode_blocks<BlockQ8_0, kQuantBlock>(src, dst);
    case DType::kQ2_K:
      return decode_blocks<BlockQ2K, kSuperBlock>(src, dst);
    case DType::kQ3_K:
      return decode_blocks<BlockQ3K, kSuperBlock>(src, dst);
    case DType::kQ4_K:
      return decode_blocks<BlockQ4K, kSuperBlock>(src, dst);
    case DType::kQ5_K:
      return decode_blocks<BlockQ5K, kSuperBlock>(src, dst);
    case DType::kQ6_K:
      return decode_blocks<BlockQ6K, kSuperBlock>(src, dst);
  }
}

bool can_quantize(DType type) noexcept {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 ||
         type == DType::kQ8_0 || type == DType::kQ4_0;
}

void quantize(DType type, std::span<const float> src, std::span<std::byte> dst) {
  if (!can_quantize(type)) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("element type: found {}, expected one of f32, f16, bf16, q8_0, q4_0",
                            info(type).name));
  }
  ONEBIT_CHECK(src.size() % info(type).block_size == 0);
  ONEBIT_CHECK(dst.size() == src.size() / info(type).block_size * info(type).block_bytes);
  if (type == DType::kF32) {
    if (!src.empty()) std::memcpy(dst.data(), src.data(), dst.size());
  } else if (type == DType::kF16) {
    encode_half(type, src, dst, f32_to_f16, f16_to_f32);
  } else if (type == DType::kBF16) {
    encode_half(type, src, dst, f32_to_bf16, bf16_to_f32);
  } else if (type == DType::kQ8_0) {
    encode_q8_0(src, dst);
  } else {
    encode_q4_0(src, dst);
  }
}

}  // namespace onebit::formats
