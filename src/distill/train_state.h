// A run on disk between two steps: everything that the next step depends on, in one safetensors
// file that other tools can open.
//
//   NAME                 the parameters (f32)
//   NAME.adam.first      Adam's first moments
//   NAME.adam.second     Adam's second moments
//   metadata             onebit.step, onebit.blocks, onebit.recipe (JSON), onebit.teacher and
//                        onebit.data (SHA-256)
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "distill/optimizer.h"
#include "distill/recipe.h"

namespace onebit::distill {

/// What a run is, besides its tensors.
struct RunIdentity {
  std::string recipe;          ///< to_json(Recipe).dump()
  std::string teacher_sha256;  ///< of the teacher's weights
  std::string data_sha256;     ///< of the training segments
};

/// Writes parameters, moments and the number of steps taken, whole or not at all; `blocks` is how
/// many blocks the stage before the steps has fitted. Throws Error{kIo}.
void save_state(const std::filesystem::path& path, const AdamW& optimizer, std::int64_t blocks,
                const RunIdentity& identity);

/// The recipe of a saved run. Throws Error{kNotFound, kIo, kCorrupt}.
Recipe saved_recipe(const std::filesystem::path& path);

/// Reads them back in place; returns the number of fitted blocks. Throws Error{kNotFound, kIo,
/// kCorrupt} naming the tensor, and Error{kInvalidArgument} naming the first setting, or the
/// teacher or the data, in which the saved run differs from `identity`.
std::int64_t load_state(const std::filesystem::path& path, AdamW& optimizer,
                        const RunIdentity& identity);

}  // namespace onebit::distill
