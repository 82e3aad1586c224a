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
#include "runtime/activations.h"
#include "runtime/attention.h"
#include "runtime/check_tokens.h"
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
  std::vector<float> attn_norm;  ///< [D], or none
  Linear q, k, v, attn_out;
  std::vector<float> ffn_norm;  ///< likewise
  Linear gate, up, down;
};

/// A row of a pass whose logits are wanted.
struct WantedRow {
  std::int64_t row;
  std::size_t item = 0;    ///< of the call
  std::int64_t token = 0;  ///< of the item
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
        rule(checkpoint.provenance() ? checkpoint.provenance()->activations
                                     : arch::ActivationRule{}),
        linear(kernels, pool, options.activations == Activations::kI8, rule, config.norm_eps),
        attention(config, kernels, pool),
        rope(config),
        embedding(checkpoint.dense(Role::kTokenEmbedding, -1).value().view),
        head(load(config.tied_head ? Role::kTokenEmbedding : Role::kOutput, -1)),
        output_norm(load_vector(checkpoint, Role::kOutputNorm, -1)) {
    kernels::verify(kernels);
    layers.reserve(static_cast<std::size_t>(config.layers));
    for (std::int64_t i = 0; i < config.layers; ++i) {
      layers.push_back({load_norm(Role::kAttnNorm, i), load(Role::kAttnQ, i), load(Role::kAttnK, i),
                        load(Role::kAttnV, i), load(Role::kAttnOut, i),
                        load_norm(Role::kFfnNorm, i), load(Role::kFfnGate, i),
                        load(Role::kFfnUp, i), load(Role::kFfnDown, i)});
    }
  }

  Linear load(Role role, std::int64_t layer) {
    return load_linear(checkpoint, role, layer, kernels, linear.int8_activations(), pool);
  }

  /// Of a block; empty where there is none.
  std::vector<float> load_norm(Role role, std::int64_t layer) const {
    if (!config.block_norms) return {};
    return load_vector(checkpoint, role, layer);
  }

  void check(std::span<const text::TokenId> tokens, const KvCache& cache) const;
  void check(std::span<const Continuation> items) const;
  void embed(text::TokenId token, float* row) const;
  void norm(const std::vector<float>& weight, const float* x, std::int64_t tokens, float* y);
  const float* norm(const std::vector<float>& weight, std::int64_t rows);
  void round_keys_and_values(std::int64_t rows);
  void add_branch(std::int64_t tokens);
  void store_and_rotate(std::int64_t layer, std::int64_t rows);
  void run_layers(std::int64_t rows);
  void run_pass(std::span<const Continuation> side_by_side);
  std::span<const float> run_head(std::span<const WantedRow> rows);
  void hand_over(const ContinuationSink& sink);

  arch::Checkpoint checkpoint;
  const arch::ModelConfig& config;
  const kernels::KernelSet& kernels;
  std::int64_t prompt_chunk;
  KvType kv;
  ThreadPool pool;
  arch::ActivationRule rule;
  LinearRunner linear;
  Attention attention;
  Rope rope;
  formats::TensorView embedding;  ///< as it is stored: tokens read rows of it
  Linear head;                    ///< of the same weights when tied
  std::vector<float> output_norm;
  std::vector<Layer> layers;
  ActivationRows a;
  std::vector<Continuation> parts;  ///< of a pass: a call's continuations, or parts of them
  std::vector<Segment> segments;    ///< likewise, as rows of a.x
  std::vector<WantedRow> wanted;    ///< likewise
};

void Model::Impl::check(std::span<const text::TokenId> tokens, const KvCache& cache) const {
  check_tokens(tokens, config.vocab);
  if (std::ssize(tokens) > cache.capacity() - cache.length()) {
    throw Error(
        ErrorCode::kResource,
        fmt::format("context: found {} tokens after the {} held, expected at most {} in all",
                    tokens.size(), cache.length(), cache.capacity()));
  }
}

void Model::Impl::check(std::span<const Continuation> items) const {
  if (items.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "sequences to evaluate: found none, expected at least 1");
  }
  check_each(items.size(), [&](std::size_t i) {
    ONEBIT_CHECK(items[i].first >= 0);
    check(items[i].tokens, *items[i].cache);
  });
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

/// What a block's half reads: the residual stream normed, or itself where the block has no norms.
const float* Model::Impl::norm(const std::vector<float>& weight, std::int64_t rows) {
  if (weight.empty()) return a.x.data();
  norm(weight, a.x.data(), rows, a.normed.data());
  return a.normed.data();
}

/// Where the rule rounds all heads of a token together, before keys are rotated.
void Model::Impl::round_keys_and_values(std::int64_t rows) {
  if (rule.kv_bits == arch::ActivationRule::kExact || rule.rounding != arch::Rounding::kAbsMax) {
    return;
  }
  const std::int64_t dim = config.kv_dim();
  for_tokens(pool, rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      round_row(rule.rounding, rule.kv_bits, a.k.data() + t * dim, dim);
      round_row(rule.rounding, rule.kv_bits, a.v.data() + t * dim, dim);
    }
  });
}

void Model::Impl::add_branch(std::int64_t tokens) {
  const std::int64_t dim = config.dim;
  for_tokens(pool, tokens, [&](std::int64_t begin, std::int64_t end) {
    kernels.add(a.branch.data() + begin * dim, a.x.data() + begin * dim, (end - begin) * dim);
  });
}

void Model::Impl::store_and_rotate(std::int64_t layer, std::int64_t rows) {
  const std::int64_t head_dim = config.head_dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  const std::int64_t group = config.heads / config.kv_heads;
  const bool rounds_heads =
      rule.kv_bits != arch::ActivationRule::kExact && rule.rounding == arch::Rounding::kMinMax;
  // By heads too: one token of a wide model writes to as many lines as its keys have elements.
  const std::int64_t grain = std::max(std::int64_t{1}, kRotateGrain / head_dim);
  pool.parallel_for(rows * config.kv_heads, grain, [&](std::int64_t begin, std::int64_t end, int) {
    auto segment = std::upper_bound(segments.begin(), segments.end(), begin / config.kv_heads,
                                    [](std::int64_t row, const Segment& s) { return row < s.row; });
    --segment;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t t = i / config.kv_heads;
      const std::int64_t kv_head = i % config.kv_heads;
      if (t == segment->row + segment->tokens) ++segment;
      KvCache& cache = *segment->cache;
      const std::int64_t position = cache.length() + t - segment->row;
      const float* q = a.q.data() + t * config.query_dim() + kv_head * group * head_dim;
      float* rotated = a.rotated.data() + (kv_head * rows + t) * group * head_dim;
      for (std::int64_t h = 0; h < group; ++h) {
        rope.rotate(q + h * head_dim, position, rounds_heads ? 1.0F : scale,
                    rotated + h * head_dim);
        if (!rounds_heads) continue;
        round_row(rule.rounding, rule.kv_bits, rotated + h * head_dim, head_dim);
        for (std::int64_t d = 0; d < head_dim; ++d) rotated[h * head_dim + d] *= scale;
      }
      const std::int64_t offset = t * config.kv_dim() + kv_head * head_dim;
      float* k = a.k.data() + offset;
      rope.rotate(k, position, 1.0F, k);
      if (rounds_heads) {
        round_row(rule.rounding, rule.kv_bits, k, head_dim);
        round_row(rule.rounding, rule.kv_bits, a.v.data() + offset, head_dim);
      }
      cache.store(kernels, layer, kv_head, position, k, a.v.data() + offset);
    }
  });
}

/// The layers over a.x, [rows, D], whose tokens the segments describe; leaves the result in a.x and
/// the keys and values in the caches.
void Model::Impl::run_layers(std::int64_t rows) {
  for (const Segment& segment : segments) rope.prepare(segment.cache->length() + segment.tokens);
  attention.divide(segments);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const Layer& layer = layers[static_cast<std::size_t>(i)];
    const float* attn_input = norm(layer.attn_norm, rows);
    const LinearJob qkv[] = {
        {&layer.q, a.q.data()}, {&layer.k, a.k.data()}, {&layer.v, a.v.data()}};
    linear.run(qkv, attn_input, rows);
    round_keys_and_values(rows);
    store_and_rotate(i, rows);
    attention.run(i, a.rotated.data(), rows, a.attended.data());
    const LinearJob out[] = {{&layer.attn_out, a.branch.data()}};
    linear.run(out, a.attended.data(), rows);
    add_branch(rows);

    const float* ffn_input = norm(layer.ffn_norm, rows);
    const LinearJob gate_up[] = {{&layer.gate, a.gate.data()}, {&layer.up, a.up.data()}};
    linear.run(gate_up, ffn_input, rows);
    for_tokens(pool, rows, [&](std::int64_t begin, std::int64_t end) {
      float* gate = a.gate.data() + begin * config.ffn;
      kernels.swiglu(gate, a.up.data() + begin * config.ffn, gate, (end - begin) * config.ffn);
    });
    const LinearJob down[] = {{&layer.down, a.branch.data()}};
    linear.run(down, a.gate.data(), rows);
    add_branch(rows);
  }
  for (const Segment& segment : segments) segment.cache->advance(segment.tokens);
}

/// All of them side by side, one after the other in a.x.
void Model::Impl::run_pass(std::span<const Continuation> side_by_side) {
  segments.clear();
  std::int64_t rows = 0;
  for (const Continuation& part : side_by_side) {
    segments.push_back({part.cache, rows, std::ssize(part.tokens)});
    rows += std::ssize(part.tokens);
  }
  a.reserve(config, rows);
  float* row = a.x.data();
  for (const Continuation& part : side_by_side) {
    for (const text::TokenId token : part.tokens) {
      embed(token, row);
      row += config.dim;
    }
  }
  run_layers(rows);
}

/// Logits of some rows of a.x, no more than it has: f32 [rows, vocab].
std::span<const float> Model::Impl::run_head(std::span<const WantedRow> rows) {
  const std::int64_t count = std::ssize(rows);
  for_tokens(pool, count, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      kernels.rms_norm(a.x.data() + rows[static_cast<std::size_t>(i)].row * config.dim,
                       output_norm.data(), static_cast<float>(config.norm_eps),
                       a.normed.data() + i * config.dim, config.dim);
    }
  });
  float* logits = a.logits.reserve(count * config.vocab);
  const LinearJob jobs[] = {{&head, logits}};
  linear.run(jobs, a.normed.data(), count);
  return {logits, static_cast<std::size_t>(count * config.vocab)};
}

/// The logits of the wanted rows, those of one item together.
void Model::Impl::hand_over(const ContinuationSink& sink) {
  const auto vocab = static_cast<std::size_t>(config.vocab);
  for (std::span<const WantedRow> left = wanted; !left.empty();) {
    std::span<const WantedRow> rows =
        left.first(std::min(left.size(), static_cast<std::size_t>(kLogitRows)));
    left = left.subspan(rows.size());
    std::span<const float> logits = run_head(rows);
    while (!rows.empty()) {
      const WantedRow& first = rows.front();
      const auto end = std::find_if(rows.begin(), rows.end(),
                                    [&](const WantedRow& row) { return row.item != first.item; });
      const auto count = static_cast<std::size_t>(end - rows.begin());
      sink(first.item, first.token, logits.first(count * vocab));
      rows = rows.subspan(count);
      logits = logits.subspan(count * vocab);
    }
  }
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

Activations Model::activations() const noexcept {
  return impl_->linear.int8_activations() ? Activations::kI8 : Activations::kF32;
}

std::span<const float> Model::forward(std::span<const text::TokenId> tokens, KvCache& cache) {
  impl_->check(tokens, cache);
  const auto chunk = static_cast<std::size_t>(impl_->prompt_chunk);
  std::size_t last = 0;
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    last = std::min(chunk, tokens.size() - begin);
    const Continuation part = {tokens.subspan(begin, last), &cache};
    impl_->run_pass({&part, 1});
  }
  const WantedRow row = {static_cast<std::int64_t>(last) - 1};
  return impl_->run_head({&row, 1});
}

void Model::forward_each(std::span<const text::TokenId> tokens, KvCache& cache, std::int64_t first,
                         const LogitsSink& sink) {
  const Continuation whole = {tokens, &cache, first};
  forward_all({&whole, 1}, [&](std::size_t, std::int64_t token, std::span<const float> logits) {
    sink(token, logits);
  });
}

void Model::forward_all(std::span<const Continuation> items, const ContinuationSink& sink) {
  impl_->check(items);
  std::size_t item = 0;
  std::int64_t begin = 0;  // of the item's tokens, what has not run
  while (item < items.size()) {
    impl_->parts.clear();
    impl_->wanted.clear();
    std::int64_t rows = 0;
    while (item < items.size() && rows < impl_->prompt_chunk) {
      const Continuation& whole = items[item];
      const std::int64_t count =
          std::min(std::ssize(whole.tokens) - begin, impl_->prompt_chunk - rows);
      impl_->parts.push_back(
          {whole.tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
           whole.cache});
      for (std::int64_t t = std::max(begin, whole.first); t < begin + count; ++t) {
        impl_->wanted.push_back({rows + t - begin, item, t});
      }
      rows += count;
      begin += count;
      if (begin == std::ssize(whole.tokens)) {
        ++item;
        begin = 0;
      }
    }
    impl_->run_pass(impl_->parts);
    impl_->hand_over(sink);
  }
}

std::span<const float> Model::forward_batch(std::span<const BatchItem> items) {
  impl_->parts.clear();
  impl_->wanted.clear();
  for (const BatchItem& item : items) {
    impl_->wanted.push_back({std::ssize(impl_->parts)});
    impl_->parts.push_back({{&item.token, 1}, item.cache});
  }
  impl_->check(impl_->parts);
  impl_->run_pass(impl_->parts);
  return impl_->run_head(impl_->wanted);
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
