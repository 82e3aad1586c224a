// Between Hugging Face's config.json and ModelConfig.
#pragma once

#include <string>
#include <string_view>

#include "arch/model_config.h"

namespace onebit::arch {

/// Parses the text of a config.json; `where` names the file in messages. Absent keys take
/// transformers' defaults of the architecture; sizes have none and must be there. Rotary scaling in
/// either spelling: `rope_scaling` + `rope_theta`, or `rope_parameters` of transformers 5. The
/// result is validated. Throws Error{kCorrupt} for text that is not JSON, a wrong type or sizes
/// that contradict each other, Error{kUnsupported} naming the key for an option that changes
/// results and is not handled (biases, other activations, other rotary types, quantised weights).
ModelConfig parse_hf_config(std::string_view json, std::string_view where);

/// The inverse: a config.json that transformers and parse_hf_config read. `dtype` is the weights'
/// type as torch names it ("float32"). Frequency factors (GGUF's rope_freqs) have no spelling
/// there: Error{kUnsupported}.
std::string hf_config_json(const ModelConfig& config, std::string_view dtype);

}  // namespace onebit::arch
