// Keys and values of one attention head in blocks of positions, as the attention kernels read them:
// both products of attention then take the positions, or the values' columns, as the lanes of
// vectors, with nothing to add up across them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/words.h"

namespace onebit::kernels {

struct KernelSet;

/// How keys and values are stored.
enum class KvType : std::uint8_t {
  kF32,  ///< exact
  kF16,  ///< rounded to nearest even
  /// x ≈ d q for every 32 values of a position: d = max|x| / 127 rounded up to bf16, q = round(x /
  /// d). bf16, since values may be as small as they like: a 1-bit layer's scales make up for it.
  kQ8_0,
};

/// Positions of a block: a whole number of vectors on every instruction set.
inline constexpr std::int64_t kKvBlock = 64;

/// A block of a head of `dim` values. Keys: [dim, kKvBlock], each position a column. Values:
/// [kKvBlock, padded_dim], each position a row with zeros at its end. In q8_0 the scales stand
/// before the int8: of keys [groups, kKvBlock], of values [kKvBlock, groups], groups = dim / 32
/// rounded up. Blocks take multiples of 64 bytes.
struct KvLayout {
  KvType type;
  std::int64_t dim;

  constexpr std::int64_t padded_dim() const noexcept { return (dim + 15) / 16 * 16; }
  constexpr std::int64_t groups() const noexcept { return (dim + 31) / 32; }
  constexpr std::int64_t scale_bytes() const noexcept {
    return type == KvType::kQ8_0 ? groups() * kKvBlock * 2 : 0;
  }
  constexpr std::int64_t element_bytes() const noexcept {
    return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
  }
  constexpr std::int64_t key_bytes() const noexcept {
    return scale_bytes() + dim * kKvBlock * element_bytes();
  }
  constexpr std::int64_t value_bytes() const noexcept {
    return scale_bytes() + padded_dim() * kKvBlock * element_bytes();
  }

  /// Writes position `slot` of a block; key and value are f32 [dim]. Distinct slots may be written
  /// by different threads.
  void store(const KernelSet& kernels, std::int64_t slot, const float* key, const float* value,
             std::byte* keys, std::byte* values) const noexcept;

  /// Reads it: f32 [dim] each.
  void load(std::int64_t slot, const std::byte* keys, const std::byte* values, float* key,
            float* value) const noexcept;
};

}  // namespace onebit::kernels

namespace onebit {

template <>
struct Words<kernels::KvType> {
  static constexpr Word<kernels::KvType> kAll[] = {{kernels::KvType::kF32, "f32"},
                                                   {kernels::KvType::kF16, "f16"},
                                                   {kernels::KvType::kQ8_0, "q8_0"}};
};

}  // namespace onebit
