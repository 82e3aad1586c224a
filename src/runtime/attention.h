// Causal grouped-query attention over the key/value cache:
//   out[t, h] = softmax(q[t, h] K[h']ᵀ) V[h'],  h' = h / (heads / kv_heads),  keys 0 … position of
//   t.
// The query heads that share a key/value head are treated together, so that its blocks are read
// once for all of them. Results do not depend on how a prompt is divided.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

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
  std::int64_t tokens;  ///< all segments of a call have as many
};

class Attention {
 public:
  Attention(const arch::ModelConfig& config, const kernels::KernelSet& kernels, ThreadPool& pool);

  /// q: f32 [kv_heads, rows, heads / kv_heads, head_dim], rotated and scaled by head_dim^-1/2;
  /// out: f32 [rows, query_dim].
  void run(std::int64_t layer, std::span<const Segment> segments, const float* q, std::int64_t rows,
           float* out);

 private:
  const arch::ModelConfig& config_;
  const kernels::KernelSet& kernels_;
  ThreadPool& pool_;
  std::int64_t group_;     ///< query heads of a key/value head
  std::int64_t tile_;      ///< tokens of a call of the kernel
  Buffer<float> scratch_;  ///< per thread
};

}  // namespace onebit::runtime
