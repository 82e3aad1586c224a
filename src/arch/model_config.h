// The sizes and options of one model, from config.json or GGUF metadata.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "arch/arch_spec.h"
#include "formats/tensor_view.h"

namespace onebit::arch {

enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3 };

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;            ///< kLinear and kLlama3
  double low_freq_factor = 1.0;   ///< kLlama3
  double high_freq_factor = 4.0;  ///< kLlama3
  std::int64_t original_context = 0;
  std::vector<float> factors;  ///< GGUF's rope_freqs tensor: divides each frequency; else empty
};

struct ModelConfig {
  const ArchSpec* arch = nullptr;
  std::int64_t vocab = 0;
  std::int64_t dim = 0;       ///< D
  std::int64_t layers = 0;    ///< L
  std::int64_t heads = 0;     ///< query heads
  std::int64_t kv_heads = 0;  ///< key/value heads; divides heads
  std::int64_t head_dim = 0;
  std::int64_t ffn = 0;
  std::int64_t context = 0;  ///< longest sequence the model was trained for
  double norm_eps = 1e-5;
  RopeConfig rope;
  bool tied_head = false;  ///< the output matrix is the embedding
  /// Whether there are norms before attention and before the feed-forward layer. Not in models that
  /// were made with BitNet's layers, each of which has its own (ActivationRule::norm).
  bool block_norms = true;

  std::int64_t query_dim() const { return heads * head_dim; }
  std::int64_t kv_dim() const { return kv_heads * head_dim; }
};

/// A tensor of one model. `layer` is -1 for the roles that are not per layer.
struct TensorId {
  Role role;
  std::int64_t layer;

  // clang-tidy 14 takes the defaulted operator for a comparison with a null pointer.
  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const TensorId&, const TensorId&) = default;
};

/// Every tensor of this model, in the order that files of this program hold them: the order of the
/// architecture's table, all per-layer tensors of layer 0 together, then of layer 1 …; no output
/// matrix when the head is tied, no block norms where there are none.
std::vector<TensorId> tensor_ids(const ModelConfig& config);

/// Bounds on what validate() accepts: far above any model, and low enough that no count of weights
/// or bytes below overflows 64 bits (a layer's in also stays within the 2^24 that keeps int32 sums
/// of int8 products exact).
inline constexpr std::int64_t kMaxDim = std::int64_t{1} << 22;
inline constexpr std::int64_t kMaxLayers = std::int64_t{1} << 12;
inline constexpr std::int64_t kMaxVocab = std::int64_t{1} << 31;
inline constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;

/// Size of a dimension of this model.
std::int64_t resolve(const ModelConfig& config, Dim dim);

/// Shape of a tensor of this model: {rows, cols} or {rows}.
formats::Shape shape_of(const ModelConfig& config, const TensorSpec& tensor);

/// Throws Error{kCorrupt} when a size is not positive or out of bounds, or when sizes contradict
/// each other. `where` names the file in the message.
void validate(const ModelConfig& config, std::string_view where = "model configuration");

/// Angular frequency of each rotary pair, [head_dim/2], scaling applied, computed in f32 as
/// transformers does: inv_freq[i] = theta^(-2i/head_dim).
std::vector<float> rope_frequencies(const ModelConfig& config);

/// Llama 3's scaling and `rope.factors` as divisors of the unscaled frequencies, [head_dim / 2]:
/// what GGUF's rope_freqs tensor stores. Empty when the model has neither (linear scaling is a GGUF
/// key). Dividing gives rope_frequencies() back within one unit in the last place.
std::vector<float> rope_factors(const ModelConfig& config);

/// Weights of one layer's and of all linear matrices, embedding and head: for size tables.
struct ParameterCount {
  std::int64_t linear = 0;      ///< weights of matrices that methods replace
  std::int64_t linear_in = 0;   ///< sum over those matrices of in
  std::int64_t linear_out = 0;  ///< sum over those matrices of out
  std::int64_t embedding = 0;   ///< token embedding
  std::int64_t head = 0;        ///< output matrix; 0 when tied
  std::int64_t norms = 0;       ///< RMSNorm vectors
  std::int64_t total() const { return linear + embedding + head + norms; }
};
ParameterCount count_parameters(const ModelConfig& config);

}  // namespace onebit::arch
