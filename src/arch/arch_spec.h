// What an architecture is, as data: dimensions' sources, options, and the names of its tensors in
// Hugging Face and GGUF files. One file per architecture defines one `const ArchSpec`; nn/ builds
// libtorch modules from it, runtime/ its forward pass, and neither subclasses anything.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace onebit::arch {

/// What a tensor is for. Per-layer roles take a layer index, the others -1.
enum class Role : std::uint8_t {
  kTokenEmbedding,
  kAttnNorm,
  kAttnQ,
  kAttnK,
  kAttnV,
  kAttnOut,
  kFfnNorm,
  kFfnGate,
  kFfnUp,
  kFfnDown,
  kOutputNorm,
  kOutput,
};

/// A dimension by meaning; resolve() in model_config.h gives its size.
enum class Dim : std::uint8_t { kNone, kVocab, kModel, kQuery, kKeyValue, kFfn };

/// How rotary pairs are laid out in the file: GGUF's llama permutes q and k rows so that pairs are
/// neighbours; Hugging Face pairs i with i + head_dim/2.
enum class RopePairs : std::uint8_t { kNeighbours, kHalves };

struct TensorSpec {
  Role role;
  std::string_view name;  ///< short name used in messages and patterns: "attn_q"
  std::string_view gguf;  ///< without the ".weight" suffix; "{}" is the layer
  std::string_view hf;    ///< likewise
  Dim rows;               ///< out, or the only dimension of a vector
  Dim cols;               ///< in; kNone for a vector
  bool linear;            ///< a matrix that quantisation methods replace
  bool per_layer;
  /// The tensor of its layer that can take a scale of this matrix's inputs (folding.h).
  std::optional<Role> folds_into = std::nullopt;
};

struct ArchSpec {
  std::string_view name;             ///< "llama": the key in arch_list.inc
  std::string_view gguf_name;        ///< general.architecture and the prefix of its keys
  std::string_view hf_model_type;    ///< config.json: model_type
  std::string_view hf_architecture;  ///< config.json: architectures[0]
  std::span<const TensorSpec> tensors;
  RopePairs gguf_rope;
};

/// Every architecture of arch_list.inc.
std::span<const ArchSpec* const> all_archs() noexcept;

/// Throws Error{kUnsupported} naming what is known.
const ArchSpec& arch_by_gguf_name(std::string_view name);
const ArchSpec& arch_by_hf_model_type(std::string_view type);

/// The spec of one role; every architecture has every role it lists exactly once.
const TensorSpec* find_tensor(const ArchSpec& arch, Role role) noexcept;

/// "blk.3.attn_q" and "model.layers.3.self_attn.q_proj".
std::string gguf_name(const TensorSpec& tensor, std::int64_t layer);
std::string hf_name(const TensorSpec& tensor, std::int64_t layer);

}  // namespace onebit::arch
