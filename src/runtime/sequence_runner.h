// Many short sequences at once: what they share at their beginnings is computed once, and all that
// can run side by side does, so that forward passes are as large as the model likes them.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/cache_pool.h"
#include "runtime/model.h"
#include "runtime/prefix_plan.h"

namespace onebit::runtime {

class SequenceRunner {
 public:
  static constexpr std::uint64_t kCacheBytes = std::uint64_t{1} << 30;

  /// Keys and values take at most `cache_bytes`, or what one longest sequence needs. `model` must
  /// outlive the object.
  explicit SequenceRunner(Model& model, std::uint64_t cache_bytes = kCacheBytes);

  /// Runs each sequence from an empty context and hands over the logits that are wanted, those of a
  /// sequence in order of the positions. They are, bit for bit, what Model::forward_each gives of
  /// that sequence alone: no kernel's result depends on what else it computes, and copied keys and
  /// values are the same bits. Beginnings that this call or one before has computed are not
  /// computed again where they are worth it and still held. Throws as check_sequences(), before
  /// anything runs, and as KvCache. After what the sink throws the object is ready for the next
  /// call, as ever.
  void run(std::span<const WantedSequence> sequences, const SequenceSink& sink);

  /// Of all calls, how many tokens have passed through the layers.
  std::int64_t tokens_run() const noexcept { return tokens_run_; }

 private:
  class Batch;

  Model& model_;
  CachePool pool_;
  std::int64_t tokens_run_ = 0;
};

}  // namespace onebit::runtime
