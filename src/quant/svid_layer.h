// The 1-bit start of the matrices of a layer: which of them are solved together, and their SVID.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/checkpoint.h"
#include "base/thread_pool.h"
#include "quant/svid.h"

namespace onebit::quant {

/// Matrices that share their input scale g.
struct StartGroup {
  std::vector<arch::Role> readers;
  std::vector<std::int64_t> tie;     ///< of SharedSvid
  std::optional<arch::Role> target;  ///< what g folds into
};

/// Every linear matrix of a layer once: alone, or in the form kFoldable with all that fold into one
/// tensor. Throws as arch::foldings().
std::vector<StartGroup> start_groups(const arch::ModelConfig& config, arch::Form form);

/// Reads the group's matrices in one layer and solves them; parts are in the order of the readers.
/// Holds all of them in memory at once, and releases their pages of the file. Throws as
/// svid_shared(), the message beginning with the file and the matrix.
SharedSvidResult svid_group(const arch::Checkpoint& source, const StartGroup& group,
                            std::int64_t layer, std::int64_t group_size, const SvidOptions& options,
                            ThreadPool& pool);

}  // namespace onebit::quant
