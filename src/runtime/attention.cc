#include "runtime/attention.h"

#include <algorithm>

namespace onebit::runtime {
namespace {

constexpr std::int64_t kBlock = KvCache::kBlock;

}  // namespace

void Attention::run(std::int64_t layer, std::span<const Segment> segments, const float* q,
                    std::int64_t rows, float* out) {
  const std::int64_t tokens = segments.front().tokens;
  const std::int64_t tiles = (tokens + kTile - 1) / kTile;
  std::int64_t longest = 0;
  for (const Segment& s : segments) longest = std::max(longest, s.cache->length() + tokens);
  const std::int64_t blocks = (longest + kBlock - 1) / kBlock;
  const std::int64_t tile = std::min(tokens, kTile);
  const std::int64_t per_thread = tile * (blocks * kBlock + kBlock + config_.head_dim);
  float* scratch = scratch_.reserve(per_thread * pool_.threads());

  const std::int64_t stride = rows * config_.head_dim;
  const std::int64_t units = static_cast<std::int64_t>(segments.size()) * config_.heads * tiles;
  pool_.parallel_for(units, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first = unit % tiles * kTile;
      const std::int64_t head = unit / tiles % config_.heads;
      const Segment& segment = segments[static_cast<std::size_t>(unit / tiles / config_.heads)];
      attend(layer, head, segment, first, std::min(kTile, tokens - first), q, stride,
             scratch + worker * per_thread, out);
    }
  });
}

void Attention::attend(std::int64_t layer, std::int64_t head, const Segment& segment,
                       std::int64_t first, std::int64_t count, const float* q, std::int64_t stride,
                       float* scratch, float* out) const noexcept {
  const KvCache& cache = *segment.cache;
  const std::int64_t head_dim = config_.head_dim;
  const std::int64_t kv_head = head / (config_.heads / config_.kv_heads);
  const std::int64_t row = segment.row + first;
  const std::int64_t position = cache.length() + first;
  const std::int64_t keys = position + count;  // that the last query of the tile sees
  const std::int64_t blocks = (keys + kBlock - 1) / kBlock;
  const std::int64_t width = blocks * kBlock;
  float* scores = scratch;                    // [count, width]
  float* weights = scores + count * width;    // [count, kBlock]
  float* partial = weights + count * kBlock;  // [count, head_dim]

  const float* query = q + head * stride + row * head_dim;
  for (std::int64_t b = 0; b < blocks; ++b) {
    kernels_.gemm_f32(cache.keys(layer, kv_head, b), head_dim, query, count, scores + b * kBlock,
                      width, 0, std::min(kBlock, keys - b * kBlock));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t seen = position + i + 1;
    kernels_.softmax(scores + i * width, seen);
    std::fill(scores + i * width + seen, scores + (i + 1) * width, 0.0F);
  }
  const std::int64_t out_stride = config_.query_dim();
  float* result = out + row * out_stride + head * head_dim;
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::copy_n(scores + i * width + b * kBlock, kBlock, weights + i * kBlock);
    }
    const float* values = cache.values(layer, kv_head, b);
    if (b == 0) {
      kernels_.gemm_f32(values, kBlock, weights, count, result, out_stride, 0, head_dim);
      continue;
    }
    kernels_.gemm_f32(values, kBlock, weights, count, partial, head_dim, 0, head_dim);
    for (std::int64_t i = 0; i < count; ++i) {
      kernels_.add(partial + i * head_dim, result + i * out_stride, head_dim);
    }
  }
}

}  // namespace onebit::runtime
