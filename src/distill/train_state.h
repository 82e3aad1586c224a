// A run on disk between two steps: everything that the next step depends on, in one safetensors
// file that other tools can open.
//
//   NAME                 the parameters (f32)
//   NAME.adam.first      Adam's first moments
//   NAME.adam.second     Adam's second moments
//   metadata             onebit.step, onebit.rate_scale, onebit.recipe (JSON), onebit.processes,
//                        onebit.teacher, onebit.data and onebit.start (SHA-256; empty: no start)
//
// Until the block-wise stage is over there is a file for each fitted block in its place, with the
// block's parameters and the same metadata but for the first two.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "distill/optimizer.h"
#include "distill/recipe.h"

namespace onebit::distill {

/// What a run is, besides its tensors.
struct RunIdentity {
  std::string recipe;          ///< to_json(Recipe).dump()
  std::string teacher;         ///< arch::Checkpoint::identity()
  std::string teacher_sha256;  ///< of its weights alone, which earlier programs saved in its place
  std::string data_sha256;     ///< of the training segments
  std::string start_sha256;    ///< of the packed student that it began with; empty for none
};

/// RUN_DIR/state.safetensors
std::filesystem::path state_file(const std::filesystem::path& folder);

/// RUN_DIR/blocks/0.safetensors and so on.
std::filesystem::path block_file(const std::filesystem::path& folder, std::int64_t layer);

/// How many blocks, from the first on, have their files.
std::int64_t blocks_saved(const std::filesystem::path& folder);

/// Keeps a copy of state.safetensors of step `step` under its step's name, and of those before it
/// the newest `count`; later ones go. A copy, not a link: one that is written over
/// state.safetensors changes no other. Throws Error{kIo}.
void keep_checkpoint(const std::filesystem::path& folder, std::int64_t step, std::int64_t count);

/// Whether the folder holds a run that can be resumed.
bool holds_run(const std::filesystem::path& folder);

/// Writes parameters, moments, the number of steps taken and the factor of the rates, whole or not
/// at all. All processes of the optimiser's group call it; the first one writes. Throws Error{kIo},
/// Error{kResource}.
void save_state(const std::filesystem::path& path, const Adam& optimizer, double rate_scale,
                const RunIdentity& identity);

/// The recipe of the run that a folder holds. Throws Error{kNotFound, kIo, kCorrupt}.
Recipe saved_recipe(const std::filesystem::path& folder);

/// Reads them back in place; every process of the group reads what it holds. Throws
/// Error{kNotFound, kIo, kCorrupt} naming the tensor, and Error{kInvalidArgument} naming the first
/// setting, or the number of processes, the teacher or the data, in which the saved run differs
/// from this one. A state needs its run's start no more: an empty one in `identity` becomes the
/// saved one, another is an error too. Returns the factor of the schedule's rates, which is below 1
/// after steps that went wrong.
double load_state(const std::filesystem::path& path, Adam& optimizer, RunIdentity& identity);

/// The parameters of one block, as save_state and load_state treat all; one process writes. The
/// next blocks need the run's start, so load_block wants the same one (onebit.start); a state does
/// not.
void save_block(const std::filesystem::path& path, const std::vector<nn::Parameter>& parameters,
                const RunIdentity& identity, int processes);
void load_block(const std::filesystem::path& path, const std::vector<nn::Parameter>& parameters,
                const RunIdentity& identity, int processes);

}  // namespace onebit::distill
