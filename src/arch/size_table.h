// How large a model is, from its configuration alone: the paper's table of model sizes.
#pragma once

#include "arch/model_config.h"

namespace onebit::arch {

/// Bytes of all weights as binary16 (the full-precision column of arXiv 2402.11295's table of
/// compression ratios).
std::int64_t bytes_full_precision(const ModelConfig& config);

/// Bytes of the OneBit model: one bit a weight of the linear matrices, g and h of each as binary16
/// (16 (in + out) bits), embedding, head and norms as binary16. No padding, no tokenizer.
std::int64_t bytes_one_bit(const ModelConfig& config);

}  // namespace onebit::arch
