// Bits where they count: which of several ways to store each matrix, so that together they cost the
// least within a number of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace onebit::quant {

/// One way to store a matrix, and what it costs (a measured divergence).
struct Choice {
  std::uint64_t bytes = 0;
  double cost = 0;
};

/// For each matrix the index of one of its choices: Σ bytes <= budget, and Σ cost as small as this
/// finds. From the smallest choices on, the step that saves the most cost a byte is taken, along
/// each matrix's lower convex hull, then what still fits. Σ cost exceeds the least possible by less
/// than the largest single step (the greedy bound of the multiple-choice knapsack: Sinha and
/// Zoltners, Operations Research 27, 1979). Every matrix has a choice. Throws
/// Error{kInvalidArgument} when the smallest choices take more than the budget.
std::vector<std::size_t> share_budget(std::span<const std::vector<Choice>> matrices,
                                      std::uint64_t budget);

}  // namespace onebit::quant
