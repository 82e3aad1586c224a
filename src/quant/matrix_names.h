// Matrices by patterns of names, as command lines give them.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "arch/checkpoint.h"
#include "quant/method.h"

namespace onebit::quant {

/// Matrices whose names a pattern matches, and the method for them.
struct PatternChoice {
  std::string pattern;
  MethodChoice choice;
};

/// "PATTERN=METHOD[:BITS]". Throws Error{kInvalidArgument} for words that are none such, and as
/// parse_method().
PatternChoice parse_pattern_choice(std::string_view text, const MethodFilter& wanted = {});

/// Of each linear matrix that a pattern matches as a shell would ("blk.0.*", "*.ffn_down"): the
/// index of the first that does. Throws Error{kInvalidArgument}, its message beginning with `flag`,
/// for a pattern that matches none.
std::map<arch::TensorId, std::size_t> match_matrices(const arch::Checkpoint& model,
                                                     std::span<const std::string> patterns,
                                                     std::string_view flag);

}  // namespace onebit::quant
