// Keys and values of one sequence, stored in blocks so that attention is two small matrix products
// per block, for a prompt as for a single token.
#pragma once

#include <cstdint>
#include <memory>

#include "arch/model_config.h"

namespace onebit::runtime {

class KvCache {
 public:
  /// Positions per block: 64 floats are four cache lines, a whole number of registers on every ISA.
  static constexpr std::int64_t kBlock = 64;

  /// Room for `capacity` tokens, 2 · 4 · layers · kv_dim bytes each; pages are taken from the
  /// system when they are first written, so it may be more than there is memory. Throws
  /// Error{kInvalidArgument} for a capacity that is not positive, Error{kResource} when it exceeds
  /// the address space.
  KvCache(const arch::ModelConfig& config, std::int64_t capacity);

  /// What a full cache of this capacity, a positive one, takes; all ones when that has no number.
  static std::uint64_t bytes(const arch::ModelConfig& config, std::int64_t capacity) noexcept;

  std::int64_t capacity() const noexcept { return capacity_; }
  std::int64_t length() const noexcept { return length_; }  ///< tokens held

  /// Forgets all after the first `length` tokens; 0 <= length <= length().
  void truncate(std::int64_t length);

  // ---- for the model's forward pass ----

  /// Keys of positions 64·block …, f32 [kBlock, head_dim].
  const float* keys(std::int64_t layer, std::int64_t head, std::int64_t block) const noexcept {
    return keys_ + offset(layer, head, block);
  }

  /// Values of the same positions, transposed: f32 [head_dim, kBlock].
  const float* values(std::int64_t layer, std::int64_t head, std::int64_t block) const noexcept {
    return values_ + offset(layer, head, block);
  }

  /// Zeroes the values of blocks that the next `tokens` tokens open: attention multiplies the
  /// unused part of a block by zero, which must not meet an old NaN. There must be room for the
  /// tokens.
  void open_blocks(std::int64_t tokens) noexcept;

  /// Writes one position of one layer; key and value are f32 [kv_dim]. Distinct positions may be
  /// written by different threads.
  void store(std::int64_t layer, std::int64_t position, const float* key,
             const float* value) noexcept;

  /// The next `tokens` positions of every layer are stored.
  void advance(std::int64_t tokens) noexcept { length_ += tokens; }

 private:
  std::int64_t offset(std::int64_t layer, std::int64_t head, std::int64_t block) const noexcept {
    return ((layer * kv_heads_ + head) * blocks_ + block) * kBlock * head_dim_;
  }

  struct Unmap {
    std::uint64_t size;
    void operator()(float* p) const noexcept;
  };

  std::int64_t layers_;
  std::int64_t kv_heads_;
  std::int64_t head_dim_;
  std::int64_t capacity_;
  std::int64_t blocks_;
  std::int64_t length_ = 0;
  std::unique_ptr<float, Unmap> memory_;
  float* keys_ = nullptr;    ///< [layers, kv_heads, blocks, kBlock, head_dim], 64-byte aligned
  float* values_ = nullptr;  ///< [layers, kv_heads, blocks, head_dim, kBlock], 64-byte aligned
};

}  // namespace onebit::runtime
