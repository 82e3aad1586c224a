// What `onebit info` tells about a model, as data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "arch/checkpoint.h"

namespace onebit::cli {

struct TensorSummary {
  std::string name;         ///< as GGUF files name it: "blk.3.attn_q"
  std::string type;         ///< "q4_1", or "sign1" for a 1-bit matrix
  formats::Shape shape;     ///< of the weights, not of their packed form
  std::uint64_t bytes = 0;  ///< stored, scales and padding included
  bool matrix = false;      ///< one of the linear layers that methods replace
};

struct ModelSummary {
  std::vector<TensorSummary> tensors;
  std::map<std::string, std::int64_t> types;  ///< tensors of each type
  std::int64_t matrices = 0;
  std::int64_t matrix_weights = 0;
  std::uint64_t matrix_bytes = 0;
  std::int64_t parameters = 0;  ///< of the architecture, before packing
  std::uint64_t file_bytes = 0;

  /// 8 · matrix_bytes / matrix_weights
  double matrix_bits_per_weight() const;
  /// 8 · file_bytes / parameters: tokenizer and metadata count too
  double file_bits_per_weight() const;
};

ModelSummary summarize(const arch::Checkpoint& checkpoint);

}  // namespace onebit::cli
