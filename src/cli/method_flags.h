// The flags of what methods are told, shared by the commands that quantise.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.h"
#include "quant/method.h"

namespace onebit::cli {

/// The names of all methods.
std::vector<std::string_view> method_names();

/// What decides a calibrated matrix beside what to_json(quant::Setting) has: "damp", "act_order"
/// and so on, by the flags' names.
nlohmann::ordered_json calibration_json(const quant::MethodOptions& options);

class MethodFlags {
 public:
  /// Those of every method: --form, --group-size, …, --refine.
  void define(CLI::App& app);

  /// --epochs, --batch, --lwc-rate, --let, --let-rate and --let-alpha, for a command that trains
  /// blocks.
  void define_training(CLI::App& app);

  /// Throws UsageError for a flag on the command line that none of these methods has.
  void require_used(const std::set<std::string_view>& methods) const;

  /// As the command line says, for `bits` of a weight. A group size without a form means the one
  /// form that has groups.
  quant::MethodOptions options(int bits) const;

 private:
  quant::MethodOptions options_;
  CLI::App* app_ = nullptr;
  CLI::Option* form_ = nullptr;
};

}  // namespace onebit::cli
