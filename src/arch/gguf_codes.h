// The tensors of a matrix of codes in a packed file: found and checked here, for
// checkpoint_gguf.cc alone. docs/formats.md has the grammar.
#pragma once

#include <string>
#include <vector>

#include "arch/checkpoint_impl.h"

namespace onebit::arch {

/// The matrix `base` ("blk.0.attn_q") of `shape` [out, in]. Throws Error{kNotFound, kCorrupt}
/// naming file and tensor.
StoredCodes find_codes(const file::GgufFile& gguf, const std::string& base,
                       const formats::Shape& shape);

/// The names of its tensors.
std::vector<std::string> tensor_names(const StoredCodes& stored);

/// Values and order are checked. Throws Error{kCorrupt}.
CodeMatrix read_codes(const StoredCodes& stored, const std::string& file);

}  // namespace onebit::arch
