// Rotary positions as transformers computes them in f32: angle = position · frequency rounded to
// f32, then its cosine and sine, each rounded to f32.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/model_config.h"

namespace onebit::runtime {

class Rope {
 public:
  explicit Rope(const arch::ModelConfig& config);

  /// Tables for positions below `count`; grows by doubling.
  void prepare(std::int64_t count);

  /// y = the rotation of one head's x at `position`, times `scale`; both f32 [head_dim], y may be
  /// x. The position must be prepared.
  void rotate(const float* x, std::int64_t position, float scale, float* y) const noexcept;

 private:
  arch::RopePairs pairs_;
  std::vector<float> frequencies_;  ///< [head_dim / 2]
  std::int64_t count_ = 0;
  std::vector<float> cos_;  ///< [count, head_dim / 2]
  std::vector<float> sin_;
};

}  // namespace onebit::runtime
