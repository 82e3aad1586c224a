// What a file of results says of the model that was measured, the same in every command's JSON, so
// that `onebit compare` can join what several runs found of one model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "arch/checkpoint.h"

namespace onebit::cli {

/// {"name", "path", "sha256", "architecture", "parameters", "file_bytes", "file_bits_per_weight",
/// "matrix_bits_per_weight", "types", "method"}, and of a packed file "form" and "group_size" where
/// it has 1-bit matrices, "source_name" and "source_sha256". `path` is as the user gave it; method
/// is "full precision" of a model that this program did not pack. Reads the whole file, for its
/// hash.
nlohmann::ordered_json model_record(const std::string& path, const arch::Checkpoint& checkpoint);

}  // namespace onebit::cli
