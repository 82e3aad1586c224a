// The flags of what methods are told, shared by the commands that quantise.
#pragma once

#include <string>
#include <vector>

#include "cli/flags.h"
#include "quant/method.h"

namespace onebit::cli {

/// The names of all methods.
std::vector<std::string_view> method_names();

class MethodFlags {
 public:
  /// Those of every method: --form, --group-size, …, --refine.
  void define(CLI::App& app);

  /// As the command line says, for `bits` of a weight. A group size without a form means the one
  /// form that has groups.
  quant::MethodOptions options(int bits) const;

 private:
  quant::MethodOptions options_;
  CLI::Option* form_ = nullptr;
};

}  // namespace onebit::cli
