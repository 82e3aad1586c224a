// Matrices by patterns of names, as command lines give them.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "arch/checkpoint.h"

namespace onebit::quant {

/// Of each linear matrix that a pattern matches as a shell would ("blk.0.*", "*.ffn_down"): the
/// index of the first that does. Throws Error{kInvalidArgument}, its message beginning with `flag`,
/// for a pattern that matches none.
std::map<arch::TensorId, std::size_t> match_matrices(const arch::Checkpoint& model,
                                                     std::span<const std::string> patterns,
                                                     std::string_view flag);

}  // namespace onebit::quant
