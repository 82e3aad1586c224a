// Causal grouped-query attention over the key/value cache:
//   out[t, h] = softmax(q[t, h] K[h']ᵀ) V[h'],  h' = h / (heads / kv_heads),  keys 0 … position of
//   t.
// The query heads that share a key/value head are treated together, so that its blocks are read
// once for all of them. Results do not depend on how a prompt is divided, nor on what else runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arch/model_config.h"
#include "base/buffer.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "runtime/kv_cache.h"

namespace onebit::runtime {

/// A run of consecutive tokens of one sequence within the rows of a forward pass. The cache's
/// length() is the position of the first; their keys and values are stored already.
struct Segment {
  KvCache* cache;
  std::int64_t row;     ///< of the first token
  std::int64_t tokens;  ///< at least one
};

class Attention {
 public:
  Attention(const arch::ModelConfig& config, const kernels::KernelSet& kernels, ThreadPool& pool);

  /// Divides the segments of a forward pass into the pieces that run() hands to threads, for all
  /// layers. Their caches stay as they are until the pass ends.
  void divide(std::span<const Segment> segments);

  /// q: f32 [kv_heads, rows, heads / kv_heads, head_dim], rotated and scaled by head_dim^-1/2;
  /// out: f32 [rows, query_dim]. The rows are those of all segments.
  void run(std::int64_t layer, const float* q, std::int64_t rows, float* out);

 private:
  /// Tokens of one segment that a call of the kernel takes.
  struct Tile {
    const KvCache* cache;
    std::int64_t row;       ///< of the first token
    std::int64_t position;  ///< likewise
    std::int64_t tokens;
  };

  const arch::ModelConfig& config_;
  const kernels::KernelSet& kernels_;
  ThreadPool& pool_;
  std::int64_t group_;  ///< query heads of a key/value head
  std::int64_t tile_;   ///< most tokens of a tile
  std::vector<Tile> tiles_;
  Buffer<float> scratch_;  ///< per thread
};

}  // namespace onebit::runtime
