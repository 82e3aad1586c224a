// Between GGUF metadata and ModelConfig: the `<arch>.*` keys as llama.cpp defines them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "arch/model_config.h"
#include "file/gguf.h"

namespace onebit::arch {

/// GGUF's name of the tensor that divides rotary frequencies.
inline constexpr std::string_view kRopeFactorsTensor = "rope_freqs.weight";

/// false: ModelConfig::block_norms is. No key of llama.cpp's, which has no such models.
inline constexpr std::string_view kBlockNormsKey = "onebit.block_norms";

/// Reads general.architecture and the architecture's keys; the vocabulary is the embedding's rows.
/// The result is validated. Throws Error{kCorrupt} for keys that are absent, of a wrong type or
/// contradict each other, Error{kUnsupported} for an architecture or option that is not handled.
ModelConfig config_from_gguf(const file::GgufFile& gguf);

/// The inverse: general.architecture and the architecture's keys. Frequency factors (rope_factors)
/// are a tensor and not part of it.
std::vector<std::pair<std::string, file::GgufValue>> config_to_gguf(const ModelConfig& config);

}  // namespace onebit::arch
