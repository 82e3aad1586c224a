#include "runtime/kv_cache.h"

#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/checked.h"
#include "base/error.h"

namespace onebit::runtime {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

std::uint64_t blocks_of(std::int64_t capacity) noexcept {
  return (static_cast<std::uint64_t>(capacity) + KvCache::kBlock - 1) / KvCache::kBlock;
}

/// Bytes of the keys and values of kBlock positions; layers · kv_dim comes from a validated
/// configuration.
std::uint64_t block_bytes(const arch::ModelConfig& config, const kernels::KvLayout& layout) {
  return static_cast<std::uint64_t>(config.layers * config.kv_heads *
                                    (layout.key_bytes() + layout.value_bytes()));
}

}  // namespace

KvCache::KvCache(const arch::ModelConfig& config, std::int64_t capacity, KvType type)
    : layout_{type, config.head_dim},
      layers_(config.layers),
      kv_heads_(config.kv_heads),
      capacity_(capacity) {
  if (capacity <= 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("context length: found {}, expected at least 1", capacity));
  }
  blocks_ = static_cast<std::int64_t>(blocks_of(capacity));
  const std::uint64_t size = bytes(config, capacity, type);
  // Untouched zero pages, not counted before they are written: a long context costs memory only
  // where it is used, even one that would not fit whole.
  void* memory = size < kMaxBytes ? ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                  : MAP_FAILED;
  if (memory == MAP_FAILED) {
    throw Error(ErrorCode::kResource,
                fmt::format("key/value cache of {} tokens: found no memory for {} bytes a token",
                            capacity, block_bytes(config, layout_) / kBlock));
  }
  memory_ = {static_cast<std::byte*>(memory), Unmap{size}};
  keys_ = memory_.get();
  values_ = keys_ + config.layers * kv_heads_ * blocks_ * layout_.key_bytes();
}

void KvCache::Unmap::operator()(std::byte* p) const noexcept { ::munmap(p, size); }

std::uint64_t KvCache::bytes(const arch::ModelConfig& config, std::int64_t capacity,
                             KvType type) noexcept {
  return checked_mul(block_bytes(config, {type, config.head_dim}), blocks_of(capacity))
      .value_or(~std::uint64_t{0});
}

void KvCache::truncate(std::int64_t length) {
  ONEBIT_CHECK(length >= 0 && length <= length_);
  length_ = length;
}

void KvCache::copy_prefix(const KvCache& from, std::int64_t length) {
  ONEBIT_CHECK(&from != this && layout_.type == from.layout_.type &&
               layout_.dim == from.layout_.dim && layers_ == from.layers_ &&
               kv_heads_ == from.kv_heads_);
  ONEBIT_CHECK(length >= 0 && length <= from.length_ && length <= capacity_);
  // What follows `length` in the last block comes along; it is hidden or overwritten, as after
  // truncate().
  const std::uint64_t blocks = blocks_of(length);
  const auto key_bytes = static_cast<std::uint64_t>(layout_.key_bytes());
  const auto value_bytes = static_cast<std::uint64_t>(layout_.value_bytes());
  for (std::int64_t head = 0; head < layers_ * kv_heads_; ++head) {
    std::memcpy(keys_ + head * blocks_ * layout_.key_bytes(),
                from.keys_ + head * from.blocks_ * layout_.key_bytes(), blocks * key_bytes);
    std::memcpy(values_ + head * blocks_ * layout_.value_bytes(),
                from.values_ + head * from.blocks_ * layout_.value_bytes(), blocks * value_bytes);
  }
  length_ = length;
}

void KvCache::store(const kernels::KernelSet& kernels, std::int64_t layer, std::int64_t head,
                    std::int64_t position, const float* key, const float* value) noexcept {
  const std::int64_t block = first_block(layer, head) + position / kBlock;
  layout_.store(kernels, position % kBlock, key, value, keys_ + block * layout_.key_bytes(),
                values_ + block * layout_.value_bytes());
}

}  // namespace onebit::runtime
