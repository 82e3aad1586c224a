#include "runtime/model.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "formats/dequantize.h"
#include "kernels/verify.h"
#include "runtime/attention.h"
#include "runtime/linear.h"
#include "runtime/rope.h"

namespace onebit::runtime {
namespace {

using arch::Role;

constexpr int kMaxThreads = 1024;
constexpr std::int64_t kMaxPromptChunk = 65536;
/// Elements of keys that are worth a thread's waking.
constexpr std::int64_t kRotateGrain = 1024;

struct Layer {
  std::vector<float> attn_norm;  ///< [D]
  Linear q, k, v, attn_out;
  std::vector<float> ffn_norm;  ///< [D]
  Linear gate, up, down;
};

/// Activations of one pass over T tokens; D model, H heads, F ffn.
struct ActivationRows {
  Buffer<float> x;         ///< residual stream, [T, D]
  Buffer<float> normed;    ///< [T, D]
  Buffer<float> q;         ///< [T, query_dim]
  Buffer<float> rotated;   ///< q rotated and scaled, [kv_heads, T, H / kv_heads, head_dim]
  Buffer<float> k;         ///< [T, kv_dim]
  Buffer<float> v;         ///< [T, kv_dim]
  Buffer<float> attended;  ///< [T, query_dim]
  Buffer<float> branch;    ///< what a half of a layer adds to x, [T, D]
  Buffer<float> gate;      ///< [T, F]
  Buffer<float> up;        ///< [T, F]
  Buffer<float> logits;    ///< [rows, vocab]

  void reserve(const arch::ModelConfig& c, std::int64_t tokens) {
    x.reserve(tokens * c.dim);
    normed.reserve(tokens * c.dim);
    q.reserve(tokens * c.query_dim());
    rotated.reserve(tokens * c.query_dim());
    k.reserve(tokens * c.kv_dim());
    v.reserve(tokens * c.kv_dim());
    attended.reserve(tokens * c.query_dim());
    branch.reserve(tokens * c.dim);
    gate.reserve(tokens * c.ffn);
    up.reserve(tokens * c.ffn);
  }
};

void check_options(const ModelOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("threads: found {}, expected 0 to {}", options.threads, kMaxThreads));
  }
  if (options.prompt_chunk < 1 || options.prompt_chunk > kMaxPromptChunk) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("prompt chunk: found {}, expected 1 to {}",
                                                         options.prompt_chunk, kMaxPromptChunk));
  }
}

std::vector<float> load_vector(const arch::Checkpoint& checkpoint, Role role, std::int64_t layer) {
  std::vector<float> values(static_cast<std::size_t>(checkpoint.config().dim));
  checkpoint.read_f32(role, layer, values);
  return values;
}

}  // namespace

struct Model::Impl {
  Impl(arch::Checkpoint opened, const ModelOptions& options)
      : checkpoint(std::move(opened)),
        config(checkpoint.config()),
        kernels(options.isa.empty() ? kernels::best_kernels()
                                    : kernels::kernels_by_name(options.isa)),
        prompt_chunk(options.prompt_chunk),
        kv(options.kv),
        pool(options.threads),
        linear(kernels, pool, options.activations == Activations::kI8),
        attention(config, kernels, pool),
        rope(config),
        embedding(checkpoint.dense(Role::kTokenEmbedding, -1).value().view),
        head(load(config.tied_head ? Role::kTokenEmbedding : Role::kOutput, -1)),
        output_norm(load_vector(checkpoint, Role::kOutputNorm, -1)) {
    kernels::verify(kernels);
    layers.reserve(static_cast<std::size_t>(config.layers));
    for (std::int64_t i = 0; i < config.layers; ++i) {
      layers.push_back({load_vector(checkpoint, Role::kAttnNorm, i), load(Role::kAttnQ, i),
                        load(Role::kAttnK, i), load(Role::kAttnV, i), load(Role::kAttnOut, i),
                        load_vector(checkpoint, Role::kFfnNorm, i), load(Role::kFfnGate, i),
                        load(Role::kFfnUp, i), load(Role::kFfnDown, i)});
    }
  }

  Linear load(Role role, std::int64_t layer) {
    return load_linear(checkpoint, role, layer, kernels, linear.int8_activations(), pool);
  }

  void check(std::span<const text::TokenId> tokens) const;
  void check_room(const KvCache& cache, std::int64_t tokens) const;
  void embed(text::TokenId token, float* row) const;
  void norm(const std::vector<float>& weight, const float* x, std::int64_t tokens, float* y);
  void add_branch(std::int64_t tokens);
  void store_and_rotate(std::int64_t layer, std::span<const Segment> segments, std::int64_t rows);
  void run_layers(std::span<const Segment> segments, std::int64_t rows);
  void run_tokens(std::span<const text::TokenId> tokens, KvCache& cache);
  std::span<const float> run_head(std::int64_t first, std::int64_t rows);

  arch::Checkpoint checkpoint;
  const arch::ModelConfig& config;
  const kernels::KernelSet& kernels;
  std::int64_t prompt_chunk;
  KvType kv;
  ThreadPool pool;
  LinearRunner linear;
  Attention attention;
  Rope rope;
  formats::TensorView embedding;  ///< as it is stored: tokens read rows of it
  Linear head;                    ///< of the same weights when tied
  std::vector<float> output_norm;
  std::vector<Layer> layers;
  ActivationRows a;
  std::vector<Segment> segments;         ///< of a batch
  std::vector<text::TokenId> token_row;  ///< of a batch
};

void Model::Impl::check(std::span<const text::TokenId> tokens) const {
  if (tokens.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "tokens to evaluate: found none, expected at least 1");
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("token {} of {}: found id {}, expected 0 to {}", i, tokens.size(),
                              tokens[i], config.vocab - 1));
    }
  }
}

void Model::Impl::check_room(const KvCache& cache, std::int64_t tokens) const {
  if (tokens > cache.capacity() - cache.length()) {
    throw Error(
        ErrorCode::kResource,
        fmt::format("context: found {} tokens after the {} held, expected at most {} in all",
                    tokens, cache.length(), cache.capacity()));
  }
}

void Model::Impl::embed(text::TokenId token, float* row) const {
  formats::dequantize(embedding.dtype, embedding.row(token),
                      {row, static_cast<std::size_t>(config.dim)});
}

void Model::Impl::norm(const std::vector<float>& weight, const float* x, std::int64_t tokens,
                       float* y) {
  const std::int64_t dim = config.dim;
  for_tokens(pool, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      kernels.rms_norm(x + t * dim, weight.data(), static_cast<float>(config.norm_eps), y + t * dim,
                       dim);
    }
  });
}

void Model::Impl::add_branch(std::int64_t tokens) {
  const std::int64_t dim = config.dim;
  for_tokens(pool, tokens, [&](std::int64_t begin, std::int64_t end) {
    kernels.add(a.branch.data() + begin * dim, a.x.data() + begin * dim, (end - begin) * dim);
  });
}

void Model::Impl::store_and_rotate(std::int64_t layer, std::span<const Segment> parts,
                                   std::int64_t rows) {
  const std::int64_t head_dim = config.head_dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const std::int64_t group = config.heads / config.kv_heads;
  const std::int64_t per_part = parts.front().tokens;
  // By heads too: one token of a wide model writes to as many lines as its keys have elements.
  const std::int64_t grain = std::max(std::int64_t{1}, kRotateGrain / head_dim);
  pool.parallel_for(rows * config.kv_heads, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t t = i / config.kv_heads;
      const std::int64_t kv_head = i % config.kv_heads;
      KvCache& cache = *parts[static_cast<std::size_t>(t / per_part)].cache;
      const std::int64_t position = cache.length() + t % per_part;
      const float* q = a.q.data() + t * config.query_dim() + kv_head * group * head_dim;
      float* rotated = a.rotated.data() + (kv_head * rows + t) * group * head_dim;
      for (std::int64_t h = 0; h < group; ++h) {
        rope.rotate(q + h * head_dim, position, scale, rotated + h * head_dim);
      }
      const std::int64_t offset = t * config.kv_dim() + kv_head * head_dim;
      float* k = a.k.data() + offset;
      rope.rotate(k, position, 1.0F, k);
      cache.store(kernels, layer, kv_head, position, k, a.v.data() + offset);
    }
  });
}

/// The layers over a.x, [rows, D], whose tokens the segments describe; leaves the result in a.x and
/// the keys and values in the caches.
void Model::Impl::run_layers(std::span<const Segment> parts, std::int64_t rows) {
  for (const Segment& part : parts) rope.prepare(part.cache->length() + part.tokens);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const Layer& layer = layers[static_cast<std::size_t>(i)];
    norm(layer.attn_norm, a.x.data(), rows, a.normed.data());
    const LinearJob qkv[] = {
        {&layer.q, a.q.data()}, {&layer.k, a.k.data()}, {&layer.v, a.v.data()}};
    linear.run(qkv, a.normed.data(), rows);
    store_and_rotate(i, parts, rows);
    attention.run(i, parts, a.rotated.data(), rows, a.attended.data());
    const LinearJob out[] = {{&layer.attn_out, a.branch.data()}};
    linear.run(out, a.attended.data(), rows);
    add_branch(rows);

    norm(layer.ffn_norm, a.x.data(), rows, a.normed.data());
    const LinearJob gate_up[] = {{&layer.gate, a.gate.data()}, {&layer.up, a.up.data()}};
    linear.run(gate_up, a.normed.data(), rows);
    for_tokens(pool, rows, [&](std::int64_t begin, std::int64_t end) {
      float* gate = a.gate.data() + begin * config.ffn;
      kernels.swiglu(gate, a.up.data() + begin * config.ffn, gate, (end - begin) * config.ffn);
    });
    const LinearJob down[] = {{&layer.down, a.branch.data()}};
    linear.run(down, a.gate.data(), rows);
    add_branch(rows);
  }
  for (const Segment& part : parts) part.cache->advance(part.tokens);
}

/// One chunk of one sequence.
void Model::Impl::run_tokens(std::span<const text::TokenId> tokens, KvCache& cache) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  a.reserve(config, rows);
  for (std::int64_t t = 0; t < rows; ++t) {
    embed(tokens[static_cast<std::size_t>(t)], a.x.data() + t * config.dim);
  }
  const Segment whole[] = {{&cache, 0, rows}};
  run_layers(whole, rows);
}

/// Logits of rows [first, first + rows) of a.x: f32 [rows, vocab].
std::span<const float> Model::Impl::run_head(std::int64_t first, std::int64_t rows) {
  norm(output_norm, a.x.data() + first * config.dim, rows, a.normed.data());
  float* logits = a.logits.reserve(rows * config.vocab);
  const LinearJob jobs[] = {{&head, logits}};
  linear.run(jobs, a.normed.data(), rows);
  return {logits, static_cast<std::size_t>(rows * config.vocab)};
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  return load(arch::Checkpoint::open(path), options);
}

Model Model::load(arch::Checkpoint checkpoint, const ModelOptions& options) {
  check_options(options);
  return Model(std::make_unique<Impl>(std::move(checkpoint), options));
}

const arch::ModelConfig& Model::config() const noexcept { return impl_->config; }
const arch::Checkpoint& Model::checkpoint() const noexcept { return impl_->checkpoint; }
const kernels::KernelSet& Model::kernels() const noexcept { return impl_->kernels; }
int Model::threads() const noexcept { return impl_->pool.threads(); }
ThreadPool& Model::pool() noexcept { return impl_->pool; }
std::int64_t Model::prompt_chunk() const noexcept { return impl_->prompt_chunk; }

KvCache Model::make_cache(std::int64_t capacity) const {
  return {impl_->config, capacity, impl_->kv};
}

KvType Model::kv_type() const noexcept { return impl_->kv; }

std::span<const float> Model::forward(std::span<const text::TokenId> tokens, KvCache& cache) {
  impl_->check(tokens);
  impl_->check_room(cache, static_cast<std::int64_t>(tokens.size()));
  const auto chunk = static_cast<std::size_t>(impl_->prompt_chunk);
  std::size_t last = 0;
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    last = std::min(chunk, tokens.size() - begin);
    impl_->run_tokens(tokens.subspan(begin, last), cache);
  }
  return impl_->run_head(static_cast<std::int64_t>(last) - 1, 1);
}

void Model::forward_each(std::span<const text::TokenId> tokens, KvCache& cache, std::int64_t first,
                         const LogitsSink& sink) {
  impl_->check(tokens);
  const auto count = static_cast<std::int64_t>(tokens.size());
  impl_->check_room(cache, count);
  ONEBIT_CHECK(first >= 0);
  for (std::int64_t begin = 0; begin < count; begin += impl_->prompt_chunk) {
    const std::int64_t end = std::min(count, begin + impl_->prompt_chunk);
    impl_->run_tokens(
        tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
        cache);
    for (std::int64_t t = std::max(begin, first); t < end; t += kLogitRows) {
      sink(t, impl_->run_head(t - begin, std::min(kLogitRows, end - t)));
    }
  }
}

std::span<const float> Model::forward_batch(std::span<const BatchItem> items) {
  impl_->token_row.clear();
  impl_->segments.clear();
  for (const BatchItem& item : items) {
    impl_->segments.push_back({item.cache, static_cast<std::int64_t>(impl_->segments.size()), 1});
    impl_->token_row.push_back(item.token);
  }
  impl_->check(impl_->token_row);
  for (const BatchItem& item : items) impl_->check_room(*item.cache, 1);
  const auto rows = static_cast<std::int64_t>(items.size());
  impl_->a.reserve(impl_->config, rows);
  for (std::int64_t t = 0; t < rows; ++t) {
    impl_->embed(items[static_cast<std::size_t>(t)].token,
                 impl_->a.x.data() + t * impl_->config.dim);
  }
  impl_->run_layers(impl_->segments, rows);
  return impl_->run_head(0, rows);
}

std::uint64_t Model::bytes_per_token() const noexcept {
  std::uint64_t bytes = stored_bytes(impl_->head) + impl_->output_norm.size() * sizeof(float);
  bytes +=
      impl_->embedding.data.size() / static_cast<std::uint64_t>(impl_->config.vocab);  // one row
  for (const Layer& layer : impl_->layers) {
    bytes += (layer.attn_norm.size() + layer.ffn_norm.size()) * sizeof(float);
    for (const Linear* w :
         {&layer.q, &layer.k, &layer.v, &layer.attn_out, &layer.gate, &layer.up, &layer.down}) {
      bytes += stored_bytes(*w);
    }
  }
  return bytes;
}

}  // namespace onebit::runtime
