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

/// The names of all methods, or of those that need no calibration.
std::vector<std::string_view> method_names(bool calibrating = true);

/// Whether --group-size is a setting of the method.
bool has_groups(const quant::Method& method);

/// What decides a calibrated matrix beside what to_json(quant::Setting) has: "damp", "act_order"
/// and so on, by the flags' names.
nlohmann::ordered_json calibration_json(const quant::MethodOptions& options);

/// The settings that this method has, by the flags' names: "group_size", "symmetric" and so on …
nlohmann::ordered_json own_settings(const quant::Method& method,
                                    const quant::MethodOptions& options);
/// … and of its calibration, "damp" and so on.
nlohmann::ordered_json own_calibration(const quant::Method& method,
                                       const quant::MethodOptions& options);

class MethodFlags {
 public:
  /// Those of methods that need no calibration: --form, --group-size, …, --clip.
  void define(CLI::App& app);

  /// Those of the others, for a command that calibrates: --damp, …, --let-alpha.
  void define_calibrated(CLI::App& app);

  /// Throws UsageError for a flag on the command line that none of these methods has.
  void require_used(const std::set<std::string_view>& methods) const;

  /// Throws UsageError for any of these flags on the command line.
  void require_none(std::string_view why) const;

  /// As the command line says, for `bits` of a weight. A group size without a form means the one
  /// form of 1-bit matrices that has groups; where `others_group`, in a mixture with methods that
  /// have groups too, it is theirs alone.
  quant::MethodOptions options(const quant::Method& method, int bits,
                               bool others_group = false) const;

 private:
  template <class Work>
  void for_each_given(const Work& work) const;
  bool given(const char* flag) const;

  quant::MethodOptions options_;
  CLI::App* app_ = nullptr;
  CLI::Option* form_ = nullptr;
  CLI::Option* damping_ = nullptr;
};

}  // namespace onebit::cli
