#include "runtime/rope.h"

#include <algorithm>
#include <cmath>

namespace onebit::runtime {

Rope::Rope(const arch::ModelConfig& config)
    : pairs_(config.arch->gguf_rope), frequencies_(arch::rope_frequencies(config)) {}

void Rope::prepare(std::int64_t count) {
  if (count <= count_) return;
  count = std::max(count, 2 * count_);
  const std::size_t half = frequencies_.size();
  cos_.reserve(static_cast<std::size_t>(count) * half);
  sin_.reserve(static_cast<std::size_t>(count) * half);
  for (std::int64_t position = count_; position < count; ++position) {
    for (const float frequency : frequencies_) {
      const float angle = static_cast<float>(position) * frequency;
      cos_.push_back(std::cos(angle));
      sin_.push_back(std::sin(angle));
    }
  }
  count_ = count;
}

void Rope::rotate(const float* x, std::int64_t position, float scale, float* y) const noexcept {
  const auto half = static_cast<std::int64_t>(frequencies_.size());
  const float* cosine = cos_.data() + position * half;
  const float* sine = sin_.data() + position * half;
  // Element i of a pair and the distance to its partner, in either layout.
  const std::int64_t step = pairs_ == arch::RopePairs::kNeighbours ? 2 : 1;
  const std::int64_t partner = pairs_ == arch::RopePairs::kNeighbours ? 1 : half;
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = x[i * step];
    const float b = x[i * step + partner];
    y[i * step] = (a * cosine[i] - b * sine[i]) * scale;
    y[i * step + partner] = (b * cosine[i] + a * sine[i]) * scale;
  }
}

}  // namespace onebit::runtime
