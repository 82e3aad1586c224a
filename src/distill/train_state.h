// A run on disk between two steps: everything that the next step depends on, in one safetensors
// file that other tools can open.
//
//   NAME                 the parameters (f32)
//   NAME.adam.first      Adam's first moments
//   NAME.adam.second     Adam's second moments
//   metadata             onebit.step, onebit.blocks, onebit.rate_scale, onebit.recipe (JSON),
//                        onebit.processes, onebit.teacher and onebit.data (SHA-256)
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

/// How far a run is, besides the number of steps.
struct RunProgress {
  std::int64_t blocks = 0;  ///< fitted by the stage before the steps
  double rate_scale = 1;    ///< of the schedule's rates: below 1 after steps that went wrong
};

/// Writes parameters, moments and the number of steps taken, whole or not at all. All processes of
/// the optimiser's group call it; the first one writes. Throws Error{kIo}, Error{kResource}.
void save_state(const std::filesystem::path& path, const Adam& optimizer,
                const RunProgress& progress, const RunIdentity& identity);

/// The recipe of a saved run. Throws Error{kNotFound, kIo, kCorrupt}.
Recipe saved_recipe(const std::filesystem::path& path);

/// Reads them back in place; every process of the group reads what it holds. Throws
/// Error{kNotFound, kIo, kCorrupt} naming the tensor, and Error{kInvalidArgument} naming the first
/// setting, or the number of processes, the teacher or the data, in which the saved run differs
/// from this one.
RunProgress load_state(const std::filesystem::path& path, Adam& optimizer,
                       const RunIdentity& identity);

}  // namespace onebit::distill
