// A runtime model as what evaluation measures.
#pragma once

#include <optional>

#include "eval/scorer.h"
#include "runtime/model.h"

namespace onebit::cli {

class RuntimeScorer final : public eval::Scorer {
 public:
  /// `model` must outlive the object.
  explicit RuntimeScorer(runtime::Model& model) : model_(model) {}

  std::int64_t vocab_size() const override { return model_.config().vocab; }
  std::int64_t context() const override { return model_.config().context; }
  void score(std::span<const text::TokenId> tokens, std::int64_t first,
             const eval::LogitsSink& sink) override;

 private:
  runtime::Model& model_;
  std::optional<runtime::KvCache> cache_;  ///< as long as the longest sequence so far
};

}  // namespace onebit::cli
