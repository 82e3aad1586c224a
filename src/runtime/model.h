// A model ready to run without libtorch: full-precision or packed 1-bit, from any Checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arch/checkpoint.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

enum class Activations : std::uint8_t {
  kF32,  ///< exact: 1-bit matrices multiply f32 activations
  kI8,   ///< activations of 1-bit matrices rounded to int8 per token
};

struct ModelOptions {
  int threads = 0;  ///< 0: one per hardware thread
  Activations activations = Activations::kI8;
  std::string isa;  ///< "" for the best; else a name of isa_list.inc
};

/// Keys and values of one sequence: f32 [layers, capacity, kv_dim] each.
class KvCache {
 public:
  KvCache(const arch::ModelConfig& config, std::int64_t capacity);

  std::int64_t capacity() const noexcept { return capacity_; }
  std::int64_t length() const noexcept { return length_; }  ///< tokens held
  void truncate(std::int64_t length);                       ///< forget all after the first `length`

  float* key(std::int64_t layer, std::int64_t position) noexcept;
  float* value(std::int64_t layer, std::int64_t position) noexcept;
  void advance(std::int64_t tokens) noexcept { length_ += tokens; }

 private:
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::int64_t kv_dim_;
  std::vector<float> keys_;
  std::vector<float> values_;
};

/// Which positions' logits forward() returns.
enum class LogitsOf : std::uint8_t { kLast, kAll };

class Model {
 public:
  /// Throws as Checkpoint::open, and Error{kUnsupported} for an unknown ISA.
  static Model load(const std::filesystem::path& path, const ModelOptions& options);

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const arch::ModelConfig& config() const noexcept;
  const arch::Checkpoint& checkpoint() const noexcept;
  const kernels::KernelSet& kernels() const noexcept;
  int threads() const noexcept;

  /// Runs `tokens` after what the cache holds and appends them to it. Returns logits: f32 [n,
  /// vocab], n = tokens.size() or 1, valid until the next call. Throws Error{kResource} when the
  /// cache is too small, Error{kInvalidArgument} for an id out of range. One caller at a time.
  std::span<const float> forward(std::span<const text::TokenId> tokens, KvCache& cache,
                                 LogitsOf which);

  /// Bytes of weights read to produce one token (for bandwidth figures).
  std::uint64_t bytes_per_token() const noexcept;

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::runtime
