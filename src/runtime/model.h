// A model ready to run without libtorch: full-precision or packed 1-bit, from any Checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "arch/checkpoint.h"
#include "base/thread_pool.h"
#include "base/words.h"
#include "kernels/kernels.h"
#include "runtime/kv_cache.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

enum class Activations : std::uint8_t {
  kF32,  ///< exact: 1-bit matrices multiply f32 activations
  kI8,   ///< activations of 1-bit matrices rounded to int8 by blocks
};

struct ModelOptions {
  int threads = 0;  ///< 0: one per hardware thread
  Activations activations = Activations::kI8;
  KvType kv = KvType::kF16;         ///< of make_cache()
  std::string isa;                  ///< "" for the best; else a name of isa_list.inc
  std::int64_t prompt_chunk = 512;  ///< tokens of a prompt that pass through the layers together
};

/// One token of one sequence, for forward_batch.
struct BatchItem {
  text::TokenId token;
  KvCache* cache;
};

/// Receives the logits that follow tokens[first], tokens[first + 1], …: f32 [n, vocab], n a small
/// number of the callee's choice, valid during the call. Calls come in order.
using LogitsSink = std::function<void(std::int64_t first, std::span<const float> logits)>;

/// New tokens of one sequence, for a pass over several side by side.
struct Continuation {
  std::span<const text::TokenId> tokens;  ///< at least one: what follows the cache's
  KvCache* cache;                         ///< no two of a call share one
  /// Logits are wanted that follow tokens[first], tokens[first + 1], …; not negative, and from
  /// tokens.size() on none are.
  std::int64_t first = 0;
};

/// As LogitsSink, of the continuation with this index; calls come in order of the indices.
using ContinuationSink =
    std::function<void(std::size_t index, std::int64_t first, std::span<const float> logits)>;

class Model {
 public:
  /// Throws as Checkpoint::open, Error{kUnsupported} for an unknown ISA and from
  /// kernels::verify, Error{kInvalidArgument} for an option outside its range.
  static Model load(const std::filesystem::path& path, const ModelOptions& options);
  static Model load(arch::Checkpoint checkpoint, const ModelOptions& options);

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const arch::ModelConfig& config() const noexcept;
  const arch::Checkpoint& checkpoint() const noexcept;
  const kernels::KernelSet& kernels() const noexcept;
  int threads() const noexcept;
  /// The threads of the layers, idle between two calls: for a caller's own work on what came out.
  ThreadPool& pool() noexcept;
  std::int64_t prompt_chunk() const noexcept;

  /// For a sequence of `capacity` tokens, of the type that the options name. Throws as KvCache.
  KvCache make_cache(std::int64_t capacity) const;
  KvType kv_type() const noexcept;
  Activations activations() const noexcept;

  /// Runs `tokens` (at least one) after what the cache holds and appends them to it. Returns the
  /// logits that follow the last: f32 [vocab], valid until the model's next call. Throws
  /// Error{kResource} when the cache is too small, Error{kInvalidArgument} for an id out of range;
  /// the cache is then unchanged. One caller at a time. Allocates nothing once it has seen this
  /// many tokens and positions.
  std::span<const float> forward(std::span<const text::TokenId> tokens, KvCache& cache);

  /// The same, handing over the logits that follow each of tokens[first …]; never holds more than
  /// kLogitRows rows of them.
  void forward_each(std::span<const text::TokenId> tokens, KvCache& cache, std::int64_t first,
                    const LogitsSink& sink);

  /// The same for several sequences: together they pass through the layers, some prompt_chunk()
  /// tokens at a time, where a longer one goes on in the next pass. What is handed over of one does
  /// not depend on the others, bit for bit. Throws as forward, naming the sequence; the caches are
  /// then unchanged. When the sink throws, each cache holds some of its tokens, from the first on.
  void forward_all(std::span<const Continuation> items, const ContinuationSink& sink);

  /// One token of each of several sequences, every weight read once for all of them. Returns f32
  /// [n, vocab], valid until the next call. Caches must be distinct. Throws as forward.
  std::span<const float> forward_batch(std::span<const BatchItem> items);

  /// Bytes of weights read to produce one token (for bandwidth figures).
  std::uint64_t bytes_per_token() const noexcept;

  static constexpr std::int64_t kLogitRows = 32;

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::runtime

namespace onebit {

template <>
struct Words<runtime::Activations> {
  static constexpr Word<runtime::Activations> kAll[] = {{runtime::Activations::kF32, "f32"},
                                                        {runtime::Activations::kI8, "i8"}};
};

}  // namespace onebit
