// Where the input scale of a 1-bit matrix can go without changing the model: into the tensor that
// makes its input. In x ⊙ g, every x_j is a product with one number of another tensor before it (a
// norm's weight, or the output scale of a row of V or of the up matrix), and that number can take
// g_j along. Equations and proof: docs/equations.md.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/model_config.h"

namespace onebit::arch {

/// A tensor, and the matrices whose input scales fold into it. They share one g, which has one
/// value for each element (of a norm) or row (of a matrix).
struct Folding {
  Role target;
  std::vector<Role> readers;      ///< in the architecture's order
  std::int64_t size = 0;          ///< values of g: elements or rows of the target
  std::vector<std::int64_t> tie;  ///< which of them input j of a reader takes; empty: j itself
};

/// All foldings of a layer of this model; each linear matrix reads in exactly one. Throws
/// Error{kUnsupported} naming a matrix that has nothing to fold into.
std::vector<Folding> foldings(const ModelConfig& config);

/// The one in which a matrix reads; into which a tensor takes a scale, or nothing.
const Folding& folding_of(const std::vector<Folding>& all, Role reader);
const Folding* folding_into(const std::vector<Folding>& all, Role target);

}  // namespace onebit::arch
