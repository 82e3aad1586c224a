// Causal grouped-query attention over the key/value cache:
//   out[t, h] = softmax(q[t, h] K[h']ᵀ) V[h'],  h' = h / (heads / kv_heads),  keys 0 … position of
//   t.
// Scores of a tile of queries are kept whole, so the softmax is exact in two passes; both products
// run block by block through the dense kernel. Results do not depend on how a prompt is divided.
#pragma once

#include <cstdint>
#include <span>

#include "arch/model_config.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "runtime/buffer.h"
#include "runtime/kv_cache.h"

namespace onebit::runtime {

/// A run of consecutive tokens of one sequence within the rows of a forward pass. The cache's
/// length() is the position of the first; their keys and values are stored already.
struct Segment {
  KvCache* cache;
  std::int64_t row;     ///< of the first token
  std::int64_t tokens;  ///< all segments of a call have as many
};

class Attention {
 public:
  Attention(const arch::ModelConfig& config, const kernels::KernelSet& kernels, ThreadPool& pool)
      : config_(config), kernels_(kernels), pool_(pool) {}

  /// q: f32 [heads, rows, head_dim], rotated and scaled by head_dim^-1/2; out: f32 [rows,
  /// query_dim].
  void run(std::int64_t layer, std::span<const Segment> segments, const float* q, std::int64_t rows,
           float* out);

 private:
  /// Queries that share one pass over the keys: enough to reuse a block of keys from the nearest
  /// cache, few enough that their scores fit the second.
  static constexpr std::int64_t kTile = 16;

  void attend(std::int64_t layer, std::int64_t head, const Segment& segment, std::int64_t first,
              std::int64_t count, const float* q, std::int64_t stride, float* scratch,
              float* out) const noexcept;

  const arch::ModelConfig& config_;
  const kernels::KernelSet& kernels_;
  ThreadPool& pool_;
  Buffer<float> scratch_;  ///< per thread: scores, one block of them, one block's result
};

}  // namespace onebit::runtime
