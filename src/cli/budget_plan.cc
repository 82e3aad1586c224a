#include "cli/budget_plan.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/sensitivity_report.h"
#include "distill/mixture.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Tokens of a window that a measurement reads.
constexpr std::int64_t kWindow = 512;

constexpr std::string_view kFirstBlock = "blk.0.";
constexpr std::string_view kEveryBlock = "blk.*.";

std::uint64_t size_of(const BudgetRequest& request, const std::vector<quant::Override>& overrides,
                      const arch::Checkpoint& source, const quant::QuantizeOptions& options) {
  quant::QuantizeOptions tried = options;
  tried.overrides = overrides;
  return quant::planned_bytes(source, request.out, tried);
}

Error too_small(const BudgetRequest& request, std::uint64_t least) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("--budget: found {} bytes, expected at least {}, what the smallest of the "
                      "measured settings give",
                      request.bytes, least)};
}

}  // namespace

void require_budget(const BudgetRequest& request, const std::vector<quant::Setting>& settings,
                    const arch::Checkpoint& source, const quant::QuantizeOptions& options) {
  std::vector<quant::Override> smallest;
  for (const arch::TensorSpec& spec : source.config().arch->tensors) {
    if (!spec.linear) continue;
    // Matrices of a name have one shape, and so one setting that takes the least.
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
    const std::string all = arch::gguf_name(spec, 0).replace(0, kFirstBlock.size(), kEveryBlock);
    quant::Override best;
    for (const quant::Setting& setting : settings) {
      const quant::Override way = {all, setting.method, setting.options};
      const std::uint64_t bytes = size_of(request, {way}, source, options);
      if (bytes >= least) continue;
      least = bytes;
      best = way;
    }
    smallest.push_back(best);
  }
  const std::uint64_t least = size_of(request, smallest, source, options);
  if (least > request.bytes) throw too_small(request, least);
}

Measurements read_measurements(const std::string& file, const arch::Checkpoint& source,
                               formats::DType scales) {
  Measurements result;
  result.source = "--sensitivity " + file;
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

std::vector<quant::Setting> budget_settings(const quant::Method& method,
                                            const quant::MethodOptions& options,
                                            const quant::MethodOptions& of_rtn) {
  std::vector<quant::Setting> settings;
  const auto add = [&](const quant::Method& chosen, const quant::MethodOptions& how, int bits) {
    settings.push_back({&chosen, how});
    settings.back().options.bits = bits;
  };
  for (const int bits : kMeasuredBits) {
    if (std::find(method.bits.begin(), method.bits.end(), bits) != method.bits.end()) {
      add(method, options, bits);
    }
  }
  if (settings.size() > 1) return settings;
  if (method.calibrates == quant::Calibrates::kAlways) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("--budget: found method {}, which only calibration can measure, expected "
                    "one that has a choice of bits or needs no calibration",
                    method.name));
  }
  settings.clear();
  add(method, options, method.bits.front());
  for (const int bits : kMeasuredBits) add(quant::find_method("rtn"), of_rtn, bits);
  return settings;
}

Measurements measure(const arch::Checkpoint& source, const quant::TokenWindows& calibration,
                     std::vector<quant::Setting> settings, int threads, Progress& progress,
                     const std::stop_token& stop) {
  quant::SensitivityOptions options;
  options.threads = threads;
  for (const quant::Setting& setting : settings) {
    options.settings.push_back(setting);
    if (setting.method->calibrates == quant::Calibrates::kAlways) {
      options.settings.back().method = &quant::find_method("rtn");
    }
  }
  const std::int64_t window = std::min(kWindow, calibration.window);
  const std::int64_t count = std::min(kMeasuredTokens, std::ssize(calibration.tokens)) / window;
  Measurements result;
  result.source = "--budget";
  result.settings = std::move(settings);
  quant::measure_sensitivity(
      source, {calibration.tokens.first(static_cast<std::size_t>(count * window)), window}, options,
      [](const quant::SensitivityBaseline&) {},
      [&](const quant::Sensitivity& row) {
        const arch::TensorSpec& spec = *arch::find_tensor(*source.config().arch, row.matrix.role);
        result.matrices[arch::gguf_name(spec, row.matrix.layer)].push_back(
            {{row.report.stored_bytes, row.kl_mean}, row.setting});
      },
      progress, stop);
  return result;
}

HybridPlan plan_hybrid(const BudgetRequest& request, const Measurements& measured,
                       std::string_view method, const arch::Checkpoint& teacher,
                       const quant::QuantizeOptions& options) {
  // How matrices are measured that such a student trains.
  const std::string_view trained = method == "llm-qat" ? "rtn" : method;
  if (method != "onebit" && method != "llm-qat") {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--budget: found method {}, expected onebit or llm-qat, which have a "
                            "choice among what `onebit sensitivity` measures",
                            method));
  }
  const auto wrong = [&](const quant::Setting& setting, const std::string& expected) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: found a setting {}, expected {}", measured.source,
                             to_json(setting).dump(), expected));
  };
  HybridPlan plan;
  for (const quant::Setting& setting : measured.settings) {
    if (setting.method->name == "onebit") {
      if (method != "onebit") throw wrong(setting, "settings of rtn, which llm-qat then trains");
      plan.form = setting.options.form;
      continue;
    }
    quant::Setting plain{setting.method, {}};
    plain.options.bits = setting.options.bits;
    plain.options.scales = setting.options.scales;
    // Only 1-bit matrices have these.
    plain.options.form = setting.options.form;
    plain.options.svid = setting.options.svid;
    if (to_json(setting) == to_json(plain)) continue;
    throw wrong(setting, fmt::format("{}: matrices in a run have no other settings than their bits",
                                     to_json(plain).dump()));
  }
  if (plan.form == arch::Form::kFoldable && measured.settings.size() > 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: found 1-bit matrices of the form foldable, whose scales matrices "
                            "share, expected the form paper or free beside other settings",
                            measured.source));
  }
  bool any_trained = false;
  for (const quant::Override& o : plan_budget(request, measured, teacher, options)) {
    const bool is_trained = o.method->name == trained;
    any_trained = any_trained || is_trained;
    if (is_trained && method == "onebit") continue;
    plan.mixture.push_back(
        fmt::format("{}={}:{}", o.pattern, is_trained ? method : o.method->name, o.options.bits));
    try {
      distill::Mixture::require_word(plan.mixture.back());
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: {}", measured.source, error.what()));
    }
  }
  if (any_trained) return plan;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("--budget: found {} bytes, of which no matrix takes a setting that {} "
                          "trains, expected fewer",
                          request.bytes, method));
}

std::vector<quant::Override> plan_budget(const BudgetRequest& request, const Measurements& measured,
                                         const arch::Checkpoint& source,
                                         const quant::QuantizeOptions& options) {
  std::vector<std::string> names;
  std::vector<std::vector<quant::Choice>> choices;
  for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
    const arch::TensorSpec& spec = *arch::find_tensor(*source.config().arch, id.role);
    if (!spec.linear) continue;
    names.push_back(arch::gguf_name(spec, id.layer));
    const auto found = measured.matrices.find(names.back());
    if (found == measured.matrices.end()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found no matrix {}, expected all of the model's",
                              measured.source, names.back()));
    }
    choices.emplace_back();
    for (const Measurements::Way& way : found->second) choices.back().push_back(way.choice);
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
  // What is beside the matrices, and how much tensors' alignment adds, shows in the file's size.
  std::uint64_t matrices = request.bytes;
  while (true) {
    if (matrices < smallest) {
      throw too_small(
          request, size_of(request, plan(quant::share_budget(choices, smallest)), source, options));
    }
    const std::vector<std::size_t> chosen = quant::share_budget(choices, matrices);
    std::vector<quant::Override> overrides = plan(chosen);
    const std::uint64_t bytes = size_of(request, overrides, source, options);
    if (bytes <= request.bytes) return overrides;
    // Less than they take now, not than they might: the choice is then another one each time.
    std::uint64_t taken = 0;
    for (std::size_t m = 0; m < chosen.size(); ++m) taken += choices[m][chosen[m]].bytes;
    matrices = taken - std::min(taken, bytes - request.bytes);
  }
}

}  // namespace onebit::cli
