// Which tokens a model may say: those that its tokenizer has a use for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arch/checkpoint.h"

namespace onebit::runtime {

/// Models are often made with more rows than their tokenizer has tokens, and their logits there
/// mean nothing.
class Choices {
 public:
  /// `checkpoint` must outlive it. Throws as Checkpoint::tokenizer.
  explicit Choices(const arch::Checkpoint& checkpoint);

  /// What to sample from: `logits`, f32 [vocab], cut before the unused tokens at its end, and with
  /// -inf at those in between: then the result is in `scratch`.
  std::span<const float> of(std::span<const float> logits, std::vector<float>& scratch) const;

  std::int64_t end() const noexcept { return end_; }  ///< of the ids
  bool contains(text::TokenId id) const noexcept;

 private:
  std::span<const text::TokenId> unused_;  ///< below end_, ascending
  std::int64_t end_;
};

}  // namespace onebit::runtime
