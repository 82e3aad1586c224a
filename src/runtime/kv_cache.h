// Keys and values of one sequence, in the blocks that the attention kernels read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "arch/model_config.h"
#include "kernels/kv_blocks.h"

namespace onebit::runtime {

using kernels::KvType;

class KvCache {
 public:
  /// Positions per block.
  static constexpr std::int64_t kBlock = kernels::kKvBlock;

  /// Room for `capacity` tokens; pages are taken from the system when they are first written, so it
  /// may be more than there is memory. Throws Error{kInvalidArgument} for a capacity that is not
  /// positive, Error{kResource} when it exceeds the address space.
  KvCache(const arch::ModelConfig& config, std::int64_t capacity, KvType type);

  /// What a full cache of this capacity, a positive one, takes; all ones when that has no number.
  static std::uint64_t bytes(const arch::ModelConfig& config, std::int64_t capacity,
                             KvType type) noexcept;

  KvType type() const noexcept { return layout_.type; }
  std::int64_t capacity() const noexcept { return capacity_; }
  std::int64_t length() const noexcept { return length_; }  ///< tokens held

  /// Forgets all after the first `length` tokens; 0 <= length <= length().
  void truncate(std::int64_t length);

  /// Holds the first `length` tokens of `from`, bit for bit, in place of what it held. `from` is
  /// another cache of the same model and type; 0 <= length <= from.length() and <= capacity().
  /// Copies whole blocks, kBlock tokens of every layer.
  void copy_prefix(const KvCache& from, std::int64_t length);

  // ---- for the model's forward pass ----

  /// One head's keys, and its values: blocks as `layout()` has them, one after the other.
  const std::byte* keys(std::int64_t layer, std::int64_t head) const noexcept {
    return keys_ + first_block(layer, head) * layout_.key_bytes();
  }
  const std::byte* values(std::int64_t layer, std::int64_t head) const noexcept {
    return values_ + first_block(layer, head) * layout_.value_bytes();
  }
  const kernels::KvLayout& layout() const noexcept { return layout_; }

  /// Writes one position of one head; key and value are f32 [head_dim]. Distinct positions and
  /// heads may be written by different threads.
  void store(const kernels::KernelSet& kernels, std::int64_t layer, std::int64_t head,
             std::int64_t position, const float* key, const float* value) noexcept;

  /// The next `tokens` positions of every layer are stored.
  void advance(std::int64_t tokens) noexcept { length_ += tokens; }

 private:
  std::int64_t first_block(std::int64_t layer, std::int64_t head) const noexcept {
    return (layer * kv_heads_ + head) * blocks_;
  }

  struct Unmap {
    std::uint64_t size;
    void operator()(std::byte* p) const noexcept;
  };

  kernels::KvLayout layout_;
  std::int64_t layers_;
  std::int64_t kv_heads_;
  std::int64_t capacity_;
  std::int64_t blocks_;
  std::int64_t length_ = 0;
  std::unique_ptr<std::byte, Unmap> memory_;
  std::byte* keys_ = nullptr;    ///< [layers, kv_heads, blocks], 64-byte aligned
  std::byte* values_ = nullptr;  ///< likewise
};

}  // namespace onebit::runtime
