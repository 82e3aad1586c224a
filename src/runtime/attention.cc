#include "runtime/attention.h"

#include <algorithm>

namespace onebit::runtime {
namespace {

constexpr std::int64_t kBlock = KvCache::kBlock;

}  // namespace

void Attention::run(std::int64_t layer, std::span<const Segment> segments, const float* q,
                    std::int64_t rows, float* out) {
  const std::int64_t tokens = segments.front().tokens;
  const std::int64_t tiles = (tokens + tile_ - 1) / tile_;
  std::int64_t longest = 0;
  for (const Segment& s : segments) longest = std::max(longest, s.cache->length() + tokens);
  const std::int64_t blocks = (longest + kBlock - 1) / kBlock;
  const std::int64_t queries = std::min(tokens, tile_) * group_;
  const std::int64_t per_thread = queries * (blocks * kBlock + kBlock + config_.head_dim);
  float* scratch = scratch_.reserve(per_thread * pool_.threads());

  const std::int64_t units = static_cast<std::int64_t>(segments.size()) * config_.kv_heads * tiles;
  pool_.parallel_for(units, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first = unit % tiles * tile_;
      const std::int64_t kv_head = unit / tiles % config_.kv_heads;
      const Segment& segment = segments[static_cast<std::size_t>(unit / tiles / config_.kv_heads)];
      attend(layer, kv_head, segment, first, std::min(tile_, tokens - first), q, rows,
             scratch + worker * per_thread, out);
    }
  });
}

void Attention::attend(std::int64_t layer, std::int64_t kv_head, const Segment& segment,
                       std::int64_t first, std::int64_t count, const float* q, std::int64_t rows,
                       float* scratch, float* out) const noexcept {
  const KvCache& cache = *segment.cache;
  const std::int64_t head_dim = config_.head_dim;
  const std::int64_t queries = count * group_;  // of token i / group_
  const std::int64_t row = segment.row + first;
  const std::int64_t position = cache.length() + first;
  const std::int64_t keys = position + count;  // that the last token of the tile sees
  const std::int64_t blocks = (keys + kBlock - 1) / kBlock;
  const std::int64_t width = blocks * kBlock;
  float* scores = scratch;                      // [queries, width]
  float* weights = scores + queries * width;    // [queries, kBlock]
  float* partial = weights + queries * kBlock;  // [queries, head_dim]

  const float* query = q + (kv_head * rows + row) * group_ * head_dim;
  for (std::int64_t b = 0; b < blocks; ++b) {
    kernels_.gemm_f32(cache.keys(layer, kv_head, b), head_dim, query, queries, scores + b * kBlock,
                      width, 0, std::min(kBlock, keys - b * kBlock));
  }
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t seen = position + i / group_ + 1;
    kernels_.softmax(scores + i * width, seen);
    std::fill(scores + i * width + seen, scores + (i + 1) * width, 0.0F);
  }
  // The heads of the group lie side by side in a row of `out`, as they do in `partial`.
  const std::int64_t span = group_ * head_dim;
  float* result = out + row * config_.query_dim() + kv_head * span;
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t i = 0; i < queries; ++i) {
      std::copy_n(scores + i * width + b * kBlock, kBlock, weights + i * kBlock);
    }
    kernels_.gemm_f32(cache.values(layer, kv_head, b), kBlock, weights, queries, partial, head_dim,
                      0, head_dim);
    for (std::int64_t t = 0; t < count; ++t) {
      float* to = result + t * config_.query_dim();
      if (b == 0) {
        std::copy_n(partial + t * span, span, to);
      } else {
        kernels_.add(partial + t * span, to, span);
      }
    }
  }
}

}  // namespace onebit::runtime
