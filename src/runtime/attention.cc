#include "runtime/attention.h"

#include <algorithm>

namespace onebit::runtime {
namespace {

using kernels::kMaxQueries;

kernels::Attend kernel_of(const kernels::KernelSet& kernels, KvType type) {
  switch (type) {
    case KvType::kF32:
      return kernels.attend_f32;
    case KvType::kF16:
      return kernels.attend_f16;
    case KvType::kQ8_0:
      break;
  }
  return kernels.attend_q8_0;
}

}  // namespace

Attention::Attention(const arch::ModelConfig& config, const kernels::KernelSet& kernels,
                     ThreadPool& pool)
    : config_(config),
      kernels_(kernels),
      pool_(pool),
      group_(config.heads / config.kv_heads),
      tile_(std::max(std::int64_t{1}, kMaxQueries / group_)) {}

void Attention::divide(std::span<const Segment> segments) {
  tiles_.clear();
  for (const Segment& segment : segments) {
    // As equal as can be: a tile reads the same blocks however few its tokens are.
    const std::int64_t parts = (segment.tokens + tile_ - 1) / tile_;
    for (std::int64_t i = 0; i < parts; ++i) {
      const std::int64_t begin = segment.tokens * i / parts;
      const std::int64_t end = segment.tokens * (i + 1) / parts;
      tiles_.push_back(
          {segment.cache, segment.row + begin, segment.cache->length() + begin, end - begin});
    }
  }
}

void Attention::run(std::int64_t layer, const float* q, std::int64_t rows, float* out) {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t per_thread = kernels::attend_scratch(dim);
  float* scratch = scratch_.reserve(per_thread * pool_.threads());
  const std::int64_t units = std::ssize(tiles_) * config_.kv_heads;
  pool_.parallel_tasks(units, [&](std::int64_t unit, int worker) {
    const Tile& tile = tiles_[static_cast<std::size_t>(unit / config_.kv_heads)];
    const std::int64_t head = unit % config_.kv_heads;
    const KvCache& cache = *tile.cache;
    const kernels::KvHead kv = {cache.keys(layer, head), cache.values(layer, head), dim};
    const std::int64_t count = tile.tokens * group_;
    // More queries than a call takes are those of one token.
    for (std::int64_t i = 0; i < count; i += kMaxQueries) {
      const kernels::Queries queries = {q + ((head * rows + tile.row) * group_ + i) * dim,
                                        std::min(kMaxQueries, count - i), group_, tile.position};
      kernel_of(kernels_, cache.type())(
          kv, queries, scratch + worker * per_thread,
          out + tile.row * config_.query_dim() + (head * group_ + i) * dim, config_.query_dim());
    }
  });
}

}  // namespace onebit::runtime
