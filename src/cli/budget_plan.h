// `onebit quantize --budget`: bits for each matrix from what `onebit sensitivity` has measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "quant/quantize_model.h"

namespace onebit::cli {

struct BudgetRequest {
  std::uint64_t bytes = 0;    ///< of the whole file
  std::string sensitivity;    ///< the file of `onebit sensitivity -o`
  std::filesystem::path out;  ///< beside which the file's size is tried
};

/// An override for each matrix, such that the file is no larger than the budget and the sum of the
/// measured divergences as small as share_budget() makes it. Each matrix has its own measured
/// settings to choose from. Throws Error{kCorrupt, kInvalidArgument}: a file that is none, or of
/// another model, that lacks a matrix; a budget below the smallest file.
std::vector<quant::Override> plan_budget(const BudgetRequest& request,
                                         const arch::Checkpoint& source,
                                         const quant::QuantizeOptions& options);

}  // namespace onebit::cli
