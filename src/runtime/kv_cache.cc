#include "runtime/kv_cache.h"

#include <algorithm>
#include <fmt/format.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/checked.h"
#include "base/error.h"

namespace onebit::runtime {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 62;

}  // namespace

KvCache::KvCache(const arch::ModelConfig& config, std::int64_t capacity)
    : layers_(config.layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity),
      blocks_((capacity - 1) / kBlock + 1) {
  if (capacity <= 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("context length: found {}, expected at least 1", capacity));
  }
  const std::uint64_t size = bytes(config, capacity);
  // Untouched zero pages, not counted before they are written: a long context costs memory only
  // where it is used, even one that would not fit whole.
  void* memory = size < kMaxBytes ? ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                  : MAP_FAILED;
  if (memory == MAP_FAILED) {
    throw Error(ErrorCode::kResource,
                fmt::format("key/value cache of {} tokens: found no memory for {} bytes a token",
                            capacity, bytes(config, kBlock) / kBlock));
  }
  memory_ = {static_cast<float*>(memory), Unmap{size}};
  keys_ = memory_.get();
  values_ = keys_ + size / (2 * sizeof(float));
}

void KvCache::Unmap::operator()(float* p) const noexcept { ::munmap(p, size); }

std::uint64_t KvCache::bytes(const arch::ModelConfig& config, std::int64_t capacity) noexcept {
  // layers · kv_dim comes from a validated configuration; the capacity is the user's.
  const auto position = static_cast<std::uint64_t>(config.layers * config.kv_dim());
  const auto blocks = (static_cast<std::uint64_t>(capacity) + kBlock - 1) / kBlock;
  return checked_mul(2 * sizeof(float) * position, blocks * kBlock).value_or(~std::uint64_t{0});
}

void KvCache::truncate(std::int64_t length) {
  ONEBIT_CHECK(length >= 0 && length <= length_);
  const std::int64_t used = length % kBlock;
  if (length < length_ && used != 0) {  // the rest of a block that stays open
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      for (std::int64_t head = 0; head < kv_heads_; ++head) {
        float* block = values_ + offset(layer, head, length / kBlock);
        for (std::int64_t i = 0; i < head_dim_; ++i) {
          std::fill_n(block + i * kBlock + used, kBlock - used, 0.0F);
        }
      }
    }
  }
  length_ = length;
}

void KvCache::open_blocks(std::int64_t tokens) noexcept {
  const std::int64_t first = (length_ + kBlock - 1) / kBlock;
  const std::int64_t last = (length_ + tokens + kBlock - 1) / kBlock;
  if (first >= last) return;
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    for (std::int64_t head = 0; head < kv_heads_; ++head) {
      std::fill_n(values_ + offset(layer, head, first), (last - first) * kBlock * head_dim_, 0.0F);
    }
  }
}

void KvCache::store(std::int64_t layer, std::int64_t position, const float* key,
                    const float* value) noexcept {
  const std::int64_t block = position / kBlock;
  const std::int64_t slot = position % kBlock;
  for (std::int64_t head = 0; head < kv_heads_; ++head) {
    const std::int64_t at = offset(layer, head, block);
    std::copy_n(key + head * head_dim_, head_dim_, keys_ + at + slot * head_dim_);
    float* column = values_ + at + slot;
    for (std::int64_t i = 0; i < head_dim_; ++i) column[i * kBlock] = value[head * head_dim_ + i];
  }
}

}  // namespace onebit::runtime
