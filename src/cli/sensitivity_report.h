// How `onebit sensitivity` shows what it has measured: rows of JSON, a table, totals, a heat map.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "quant/sensitivity.h"

namespace onebit::cli {

/// "onebit", or "rtn:4" of a method that has a choice of bits.
std::string setting_label(const quant::Setting& setting);

/// What decides how a matrix is quantised: {"method", "nominal_bits", "form", "group_size", "init",
/// "split", "scales", "symmetric", "affine", "per_tensor", "clip"}
nlohmann::ordered_json to_json(const quant::Setting& setting);

/// Back. Throws Error{kInvalidArgument} for words and bits that there are not, and nlohmann's
/// exceptions for members that are absent or of another type.
quant::Setting setting_from_json(const nlohmann::ordered_json& json);

/// What is known of a whole measurement, each matrix by each setting at most once.
struct SensitivityReport {
  const arch::ModelConfig* config = nullptr;
  std::vector<quant::Setting> settings;
  std::vector<quant::Sensitivity> rows;

  /// One of `rows` as JSON: "setting" is the index into the settings, "bits" what is stored for a
  /// weight, scales included.
  nlohmann::ordered_json to_json(const quant::Sensitivity& row) const;

  /// Back, from a file. Throws Error{kCorrupt} for what to_json() does not write.
  quant::Sensitivity from_json(const nlohmann::ordered_json& row) const;

  /// Ranks the rows, the largest divergence first, or by layer and within it as the architecture
  /// lists them.
  void sort(bool by_layer);

  /// A line a matrix; then sums by role and by layer, which hold as far as what matrices cost adds
  /// up.
  std::string table() const;

  /// The same sums: {"by_role", "by_layer"}, arrays.
  nlohmann::ordered_json totals() const;

  /// Layers × roles in the colour of their divergence, a panel a setting. Throws as draw()
  /// (gnuplot.h).
  void draw_heat_map(const std::filesystem::path& out) const;
};

}  // namespace onebit::cli
