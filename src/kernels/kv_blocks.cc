#include "kernels/kv_blocks.h"

#include <algorithm>
#include <bit>

#include "base/half.h"
#include "kernels/kernels.h"

namespace onebit::kernels {
namespace {

constexpr std::int64_t kGroup = 32;
/// Values converted at a time.
constexpr std::int64_t kChunk = 256;

/// Where a position's key or value lies in a block: element i at first + i · step, the scale of
/// group j at first_scale + j · scale_step.
struct Place {
  std::int64_t first;
  std::int64_t step;
  std::int64_t first_scale;
  std::int64_t scale_step;
};

Place key_place(const KvLayout&, std::int64_t slot) noexcept {
  return {slot, kKvBlock, slot, kKvBlock};
}

Place value_place(const KvLayout& layout, std::int64_t slot) noexcept {
  return {slot * layout.padded_dim(), 1, slot * layout.groups(), 1};
}

void store_f16(const KernelSet& kernels, const float* x, std::int64_t n, const Place& at,
               f16_bits* elements) noexcept {
  f16_bits bits[kChunk];
  for (std::int64_t begin = 0; begin < n; begin += kChunk) {
    const std::int64_t count = std::min(kChunk, n - begin);
    kernels.to_f16(x + begin, bits, count);
    for (std::int64_t i = 0; i < count; ++i) elements[at.first + (begin + i) * at.step] = bits[i];
  }
}

/// To bf16, away from zero; a NaN for what is not finite.
bf16_bits round_up(float magnitude) noexcept {
  constexpr bf16_bits kNan = 0x7FC0;
  const auto bits = std::bit_cast<std::uint32_t>(magnitude);
  if (bits >= 0x7F800000U) return kNan;
  return static_cast<bf16_bits>((bits + 0xFFFFU) >> 16);
}

/// A group that holds a NaN or an infinity reads as NaN, one whose largest value's 1 / d would be
/// infinite as zeros.
void store_q8_0(const float* x, std::int64_t n, const Place& at, bf16_bits* scales,
                std::int8_t* elements) noexcept {
  constexpr float kLeastScale = 0x1p-120F;
  for (std::int64_t begin = 0; begin < n; begin += kGroup) {
    const std::int64_t count = std::min(kGroup, n - begin);
    std::uint32_t largest = 0;  // magnitudes compare as integers, NaN above all others
    for (std::int64_t i = 0; i < count; ++i) {
      largest = std::max(largest, std::bit_cast<std::uint32_t>(x[begin + i]) & 0x7FFFFFFFU);
    }
    const bf16_bits bits = round_up(std::bit_cast<float>(largest) / 127.0F);
    scales[at.first_scale + begin / kGroup * at.scale_step] = bits;
    const float d = bf16_to_f32(bits);
    const float inverse = d >= kLeastScale ? 1.0F / d : 0.0F;
    for (std::int64_t i = 0; i < count; ++i) {
      // Added and taken away, 1.5 · 2^23 leaves the nearest integer, ties to even; within ±127.
      const float q = x[begin + i] * inverse + 0x1.8p23F - 0x1.8p23F;
      elements[at.first + (begin + i) * at.step] =
          inverse > 0 ? static_cast<std::int8_t>(q) : std::int8_t{0};
    }
  }
}

void store_one(const KernelSet& kernels, const KvLayout& layout, const float* x, const Place& at,
               std::byte* block) noexcept {
  std::byte* elements = block + layout.scale_bytes();
  switch (layout.type) {
    case KvType::kF32:
      for (std::int64_t i = 0; i < layout.dim; ++i) {
        reinterpret_cast<float*>(elements)[at.first + i * at.step] = x[i];
      }
      break;
    case KvType::kF16:
      store_f16(kernels, x, layout.dim, at, reinterpret_cast<f16_bits*>(elements));
      break;
    case KvType::kQ8_0:
      store_q8_0(x, layout.dim, at, reinterpret_cast<bf16_bits*>(block),
                 reinterpret_cast<std::int8_t*>(elements));
      break;
  }
}

void load_one(const KvLayout& layout, const std::byte* block, const Place& at, float* x) noexcept {
  const std::byte* elements = block + layout.scale_bytes();
  for (std::int64_t i = 0; i < layout.dim; ++i) {
    const std::int64_t element = at.first + i * at.step;
    switch (layout.type) {
      case KvType::kF32:
        x[i] = reinterpret_cast<const float*>(elements)[element];
        break;
      case KvType::kF16:
        x[i] = f16_to_f32(reinterpret_cast<const f16_bits*>(elements)[element]);
        break;
      case KvType::kQ8_0: {
        const auto* scales = reinterpret_cast<const bf16_bits*>(block);
        const float d = bf16_to_f32(scales[at.first_scale + i / kGroup * at.scale_step]);
        x[i] = d * static_cast<float>(reinterpret_cast<const std::int8_t*>(elements)[element]);
        break;
      }
    }
  }
}

}  // namespace

void KvLayout::store(const KernelSet& kernels, std::int64_t slot, const float* key,
                     const float* value, std::byte* keys, std::byte* values) const noexcept {
  store_one(kernels, *this, key, key_place(*this, slot), keys);
  store_one(kernels, *this, value, value_place(*this, slot), values);
  const std::int64_t bytes = element_bytes();
  std::fill_n(values + scale_bytes() + (slot * padded_dim() + dim) * bytes,
              (padded_dim() - dim) * bytes, std::byte{0});
}

void KvLayout::load(std::int64_t slot, const std::byte* keys, const std::byte* values, float* key,
                    float* value) const noexcept {
  load_one(*this, keys, key_place(*this, slot), key);
  load_one(*this, values, value_place(*this, slot), value);
}

}  // namespace onebit::kernels
