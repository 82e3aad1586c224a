#include "cli/budget_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/sensitivity_report.h"
#include "quant/budget.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

/// A way to store a matrix, as it was measured.
struct Measured {
  quant::Choice choice;
  std::size_t setting = 0;
};

/// What a sensitivity file says.
struct Measurements {
  std::vector<quant::Setting> settings;
  std::map<std::string, std::vector<Measured>> matrices;
};

Measurements read(const std::string& file, const arch::Checkpoint& source, formats::DType scales) {
  Measurements result;
  try {
    const Json json = Json::parse(read_file(file));
    const auto measured = json.at("model_info").at("sha256").get<std::string>();
    if (measured != source.sha256()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("found measurements of a model with sha256 {}, expected {}, {}'s",
                              measured, source.sha256(), source.path().string()));
    }
    for (const Json& setting : json.at("settings")) {
      result.settings.push_back(setting_from_json(setting));
      if (result.settings.back().options.scales == scales) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("found scales of type {}, expected {} (--scales)",
                              formats::info(result.settings.back().options.scales).name,
                              formats::info(scales).name));
    }
    for (const Json& row : json.at("rows")) {
      const auto setting = row.at("setting").get<std::size_t>();
      if (setting >= result.settings.size()) {
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("found setting {} of a row, expected one of {}", setting,
                                result.settings.size()));
      }
      result.matrices[row.at("matrix").get<std::string>()].push_back(
          {{row.at("bytes").get<std::uint64_t>(), row.at("kl_mean").get<double>()}, setting});
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("--sensitivity {}: found no file of `onebit sensitivity -o`: {}", file,
                            error.what()));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("--sensitivity {}: {}", file, error.what()));
  }
  return result;
}

}  // namespace

std::vector<quant::Override> plan_budget(const BudgetRequest& request,
                                         const arch::Checkpoint& source,
                                         const quant::QuantizeOptions& options) {
  const Measurements measured = read(request.sensitivity, source, options.method_options.scales);
  std::vector<std::string> names;
  std::vector<std::vector<quant::Choice>> choices;
  for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
    const arch::TensorSpec& spec = *arch::find_tensor(*source.config().arch, id.role);
    if (!spec.linear) continue;
    names.push_back(arch::gguf_name(spec, id.layer));
    const auto found = measured.matrices.find(names.back());
    if (found == measured.matrices.end()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("--sensitivity {}: found no matrix {}, expected all of the model's",
                              request.sensitivity, names.back()));
    }
    choices.emplace_back();
    for (const Measured& way : found->second) choices.back().push_back(way.choice);
  }
  std::uint64_t smallest = 0;
  for (const auto& ways : choices) {
    smallest += std::min_element(ways.begin(), ways.end(), [](const auto& a, const auto& b) {
                  return a.bytes < b.bytes;
                })->bytes;
  }
  const auto plan = [&](const std::vector<std::size_t>& chosen) {
    std::vector<quant::Override> overrides;
    for (std::size_t m = 0; m < names.size(); ++m) {
      const quant::Setting& setting =
          measured.settings[measured.matrices.at(names[m])[chosen[m]].setting];
      overrides.push_back({names[m], setting.method, setting.options});
    }
    return overrides;
  };
  const auto size = [&](const std::vector<quant::Override>& overrides) {
    quant::QuantizeOptions tried = options;
    tried.overrides = overrides;
    return quant::planned_bytes(source, request.out, tried);
  };
  // What is beside the matrices, and how much tensors' alignment adds, shows in the file's size.
  std::uint64_t matrices = request.bytes;
  while (true) {
    if (matrices < smallest) {
      const std::uint64_t least = size(plan(quant::share_budget(choices, smallest)));
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("--budget: found {} bytes, expected at least {}, what the smallest "
                              "of the measured settings give",
                              request.bytes, least));
    }
    std::vector<quant::Override> overrides = plan(quant::share_budget(choices, matrices));
    const std::uint64_t bytes = size(overrides);
    if (bytes <= request.bytes) return overrides;
    matrices -= std::min(matrices, bytes - request.bytes);
  }
}

}  // namespace onebit::cli
