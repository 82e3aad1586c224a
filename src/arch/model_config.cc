// Sizes that follow from a configuration, its checks, and the rotary frequencies.
#include "arch/model_config.h"

#include <cmath>
#include <fmt/format.h>
#include <numbers>

#include "base/check.h"
#include "base/error.h"

namespace onebit::arch {
namespace {

[[noreturn]] void contradiction(std::string_view where, const std::string& what) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}", where, what));
}

void check_range(std::string_view where, std::string_view name, std::int64_t value,
                 std::int64_t max) {
  if (value < 1 || value > max) {
    contradiction(where, fmt::format("{}: found {}, expected 1 to {}", name, value, max));
  }
}

void check_positive(std::string_view where, std::string_view name, double value) {
  if (!std::isfinite(value) || !std::isfinite(static_cast<float>(value)) ||
      static_cast<float>(value) <= 0.0F) {
    contradiction(where, fmt::format("{}: found {}, expected a positive number", name, value));
  }
}

void validate_rope(const RopeConfig& rope, std::int64_t head_dim, std::string_view where) {
  check_positive(where, "rope theta", rope.theta);
  if (rope.scaling != RopeScaling::kNone) check_positive(where, "rope factor", rope.factor);
  if (rope.scaling == RopeScaling::kLlama3) {
    check_positive(where, "rope low_freq_factor", rope.low_freq_factor);
    check_positive(where, "rope high_freq_factor", rope.high_freq_factor);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      contradiction(where, fmt::format("rope high_freq_factor: found {}, expected more than "
                                       "low_freq_factor {}",
                                       rope.high_freq_factor, rope.low_freq_factor));
    }
    check_range(where, "rope original context", rope.original_context, kMaxContext);
  }
  if (rope.factors.empty()) return;
  if (std::ssize(rope.factors) != head_dim / 2) {
    contradiction(where, fmt::format("rope frequency factors: found {}, expected {} (half of the "
                                     "head's size)",
                                     rope.factors.size(), head_dim / 2));
  }
  for (const float factor : rope.factors) check_positive(where, "rope frequency factor", factor);
}

/// inv_freq[i] = theta^(-2i/head_dim), in f32 as transformers' default rotary embedding.
std::vector<float> unscaled_frequencies(const ModelConfig& config) {
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  const auto theta = static_cast<float>(config.rope.theta);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    frequencies[i] = 1.0F / std::pow(theta, exponent);
  }
  return frequencies;
}

/// How far a wavelength lies between the two bounds of Llama 3's scaling: 0 and below: long waves,
/// scaled by the whole factor; 1 and above: short waves, left alone.
float llama3_smooth(const RopeConfig& rope, float wavelength) {
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto range = static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  return (static_cast<float>(rope.original_context) / wavelength - low) / range;
}

/// Llama 3.1's frequencies, operation by operation as transformers' _compute_llama3_parameters.
float llama3_frequency(const RopeConfig& rope, float frequency) {
  const auto original = static_cast<double>(rope.original_context);
  const auto factor = static_cast<float>(rope.factor);
  const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
  if (wavelength < static_cast<float>(original / rope.high_freq_factor)) return frequency;
  if (wavelength > static_cast<float>(original / rope.low_freq_factor)) return frequency / factor;
  const float smooth = llama3_smooth(rope, wavelength);
  return (1.0F - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

std::vector<TensorId> tensor_ids(const ModelConfig& config) {
  const auto tensors = config.arch->tensors;
  std::vector<TensorId> ids;
  for (std::size_t i = 0; i < tensors.size();) {
    if (!tensors[i].per_layer) {
      if (tensors[i].role != Role::kOutput || !config.tied_head)
        ids.push_back({tensors[i].role, -1});
      ++i;
      continue;
    }
    std::size_t end = i;  // the table's run of per-layer tensors is repeated for every layer
    while (end < tensors.size() && tensors[end].per_layer) ++end;
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      for (std::size_t t = i; t < end; ++t) {
        if (config.block_norms || tensors[t].linear) ids.push_back({tensors[t].role, layer});
      }
    }
    i = end;
  }
  return ids;
}

std::int64_t resolve(const ModelConfig& config, Dim dim) {
  switch (dim) {
    case Dim::kNone:
      return 1;
    case Dim::kVocab:
      return config.vocab;
    case Dim::kModel:
      return config.dim;
    case Dim::kQuery:
      return config.query_dim();
    case Dim::kKeyValue:
      return config.kv_dim();
    case Dim::kFfn:
      return config.ffn;
  }
  ONEBIT_CHECK(false);
  return 0;
}

formats::Shape shape_of(const ModelConfig& config, const TensorSpec& tensor) {
  if (tensor.cols == Dim::kNone) return {resolve(config, tensor.rows)};
  return {resolve(config, tensor.rows), resolve(config, tensor.cols)};
}

void validate(const ModelConfig& config, std::string_view where) {
  ONEBIT_CHECK(config.arch != nullptr);
  check_range(where, "vocabulary", config.vocab, kMaxVocab);
  check_range(where, "model dimension", config.dim, kMaxDim);
  check_range(where, "layers", config.layers, kMaxLayers);
  check_range(where, "attention heads", config.heads, kMaxDim);
  check_range(where, "key/value heads", config.kv_heads, config.heads);
  check_range(where, "head dimension", config.head_dim, kMaxDim);
  check_range(where, "attention heads x head dimension", config.query_dim(), kMaxDim);
  check_range(where, "feed-forward dimension", config.ffn, kMaxDim);
  check_range(where, "context length", config.context, kMaxContext);
  if (config.heads % config.kv_heads != 0) {
    contradiction(where, fmt::format("attention heads: found {}, expected a multiple of the {} "
                                     "key/value heads",
                                     config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) {
    contradiction(where, fmt::format("head dimension: found {}, expected an even number (rotary "
                                     "positions turn pairs)",
                                     config.head_dim));
  }
  check_positive(where, "norm epsilon", config.norm_eps);
  validate_rope(config.rope, config.head_dim, where);
}

std::vector<float> rope_frequencies(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  std::vector<float> frequencies = unscaled_frequencies(config);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    float& f = frequencies[i];
    if (rope.scaling == RopeScaling::kLinear) f /= static_cast<float>(rope.factor);
    if (rope.scaling == RopeScaling::kLlama3) f = llama3_frequency(rope, f);
    if (!rope.factors.empty()) f /= rope.factors[i];
  }
  return frequencies;
}

std::vector<float> rope_factors(const ModelConfig& config) {
  if (config.rope.scaling != RopeScaling::kLlama3) return config.rope.factors;
  const std::vector<float> scaled = rope_frequencies(config);
  std::vector<float> factors = unscaled_frequencies(config);
  for (std::size_t i = 0; i < factors.size(); ++i) factors[i] /= scaled[i];
  return factors;
}

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const TensorSpec& tensor : config.arch->tensors) {
    const std::int64_t copies = tensor.per_layer ? config.layers : 1;
    const std::int64_t rows = resolve(config, tensor.rows);
    const std::int64_t cols = resolve(config, tensor.cols);
    if (tensor.linear) {
      count.linear += copies * rows * cols;
      count.linear_in += copies * cols;
      count.linear_out += copies * rows;
    } else if (tensor.role == Role::kTokenEmbedding) {
      count.embedding += rows * cols;
    } else if (tensor.role == Role::kOutput) {
      if (!config.tied_head) count.head += rows * cols;
    } else if (config.block_norms || !tensor.per_layer) {
      count.norms += copies * rows * cols;
    }
  }
  return count;
}

}  // namespace onebit::arch
