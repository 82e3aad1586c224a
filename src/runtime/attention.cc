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

void Attention::run(std::int64_t layer, std::span<const Segment> segments, const float* q,
                    std::int64_t rows, float* out) {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t per_thread = kernels::attend_scratch(dim);
  float* scratch = scratch_.reserve(per_thread * pool_.threads());
  const std::int64_t tokens = segments.front().tokens;
  const std::int64_t tiles = (tokens + tile_ - 1) / tile_;
  const std::int64_t units = static_cast<std::int64_t>(segments.size()) * config_.kv_heads * tiles;
  pool_.parallel_tasks(units, [&](std::int64_t unit, int worker) {
    const Segment& segment = segments[static_cast<std::size_t>(unit / tiles / config_.kv_heads)];
    const std::int64_t head = unit / tiles % config_.kv_heads;
    const KvCache& cache = *segment.cache;
    const kernels::KvHead kv = {cache.keys(layer, head), cache.values(layer, head), dim};
    const std::int64_t first = unit % tiles * tile_;
    const std::int64_t count = std::min(tile_, tokens - first) * group_;
    const std::int64_t row = segment.row + first;
    // More queries than a call takes are those of one token.
    for (std::int64_t i = 0; i < count; i += kMaxQueries) {
      const kernels::Queries queries = {q + ((head * rows + row) * group_ + i) * dim,
                                        std::min(kMaxQueries, count - i), group_,
                                        cache.length() + first};
      kernel_of(kernels_, cache.type())(kv, queries, scratch + worker * per_thread,
                                        out + row * config_.query_dim() + (head * group_ + i) * dim,
                                        config_.query_dim());
    }
  });
}

}  // namespace onebit::runtime
