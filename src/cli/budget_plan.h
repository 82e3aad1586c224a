// `onebit quantize --budget`: bits for each matrix from what each costs, measured by
// `onebit sensitivity` before, or here.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "quant/budget.h"
#include "quant/quantize_model.h"
#include "quant/sensitivity.h"

namespace onebit::cli {

/// What each way to store each matrix costs, by the matrices' names.
struct Measurements {
  struct Way {
    quant::Choice choice;
    std::size_t setting = 0;
  };
  std::string source;  ///< for messages: "--sensitivity FILE"
  std::vector<quant::Setting> settings;
  std::map<std::string, std::vector<Way>> matrices;
};

/// From the file of `onebit sensitivity -o`. Throws Error{kCorrupt, kInvalidArgument}: a file that
/// is none, or of another model or type of scales.
Measurements read_measurements(const std::string& file, const arch::Checkpoint& source,
                               formats::DType scales);

/// Bits of a weight that are tried.
inline constexpr std::array kMeasuredBits = {2, 3, 4, 8};

/// Tokens that measure() reads at most.
inline constexpr std::int64_t kMeasuredTokens = 2048;

/// What a budget for `method` measures where no file says anything: its bits of kMeasuredBits, with
/// `options`; of a method with no such choice itself beside rtn's, with `of_rtn`. A method that
/// calibrates is measured as rtn of the same bits, which costs no calibration; what is quantised
/// then is its own. Throws Error{kUnsupported} for one that has no such bits: nothing then says
/// what it costs.
std::vector<quant::Setting> budget_settings(const quant::Method& method,
                                            const quant::MethodOptions& options,
                                            const quant::MethodOptions& of_rtn);

/// Measures every matrix by every one of them on the first 2,048 tokens of `calibration`. Throws as
/// measure_sensitivity().
Measurements measure(const arch::Checkpoint& source, const quant::TokenWindows& calibration,
                     std::vector<quant::Setting> settings, int threads, Progress& progress,
                     const std::stop_token& stop);

struct BudgetRequest {
  std::uint64_t bytes = 0;    ///< of the whole file
  std::filesystem::path out;  ///< beside which the file's size is tried
};

/// Before minutes of measuring: throws Error{kInvalidArgument} for a budget below the smallest file
/// that the settings can give, and as quantize_model() for settings that no mixture can have.
void require_budget(const BudgetRequest& request, const std::vector<quant::Setting>& settings,
                    const arch::Checkpoint& source, const quant::QuantizeOptions& options);

/// What a budget for a run of training gives: the form of the matrices that are 1-bit, and words
/// "NAME=METHOD:BITS" of distill::Mixture for the others.
struct HybridPlan {
  std::optional<arch::Form> form;  ///< none: no 1-bit matrix was measured
  std::vector<std::string> mixture;
};

/// plan_budget() for a student of the method "onebit", whose 1-bit matrices are trained, or
/// "llm-qat", which trains those of settings of rtn at their bits. Throws as plan_budget(), and
/// Error{kInvalidArgument} for other methods, for measured settings that matrices in a run cannot
/// have, as groups or the form kFoldable beside others, and for a budget that trains no matrix.
HybridPlan plan_hybrid(const BudgetRequest& request, const Measurements& measured,
                       std::string_view method, const arch::Checkpoint& teacher,
                       const quant::QuantizeOptions& options);

/// An override for each matrix, such that the file is no larger than the budget and the sum of the
/// measured divergences as small as share_budget() makes it. Each matrix has its own measured
/// settings to choose from. Throws Error{kInvalidArgument}: measurements that lack a matrix; a
/// budget below the smallest file.
std::vector<quant::Override> plan_budget(const BudgetRequest& request, const Measurements& measured,
                                         const arch::Checkpoint& source,
                                         const quant::QuantizeOptions& options);

}  // namespace onebit::cli
