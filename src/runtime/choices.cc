#include "runtime/choices.h"

#include <algorithm>
#include <limits>

namespace onebit::runtime {

Choices::Choices(const arch::Checkpoint& checkpoint)
    : unused_(checkpoint.unused_tokens()), end_(checkpoint.config().vocab) {
  while (!unused_.empty() && unused_.back() == end_ - 1) {
    unused_ = unused_.first(unused_.size() - 1);
    --end_;
  }
}

std::span<const float> Choices::of(std::span<const float> logits,
                                   std::vector<float>& scratch) const {
  logits = logits.first(static_cast<std::size_t>(end_));
  if (unused_.empty()) return logits;
  scratch.assign(logits.begin(), logits.end());
  for (const text::TokenId id : unused_) {
    scratch[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
  return scratch;
}

bool Choices::contains(text::TokenId id) const noexcept {
  return id >= 0 && id < end_ && !std::binary_search(unused_.begin(), unused_.end(), id);
}

}  // namespace onebit::runtime
