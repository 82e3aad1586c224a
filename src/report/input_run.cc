// A folder of `onebit distill`: metrics.jsonl, a row a step, a block or an evaluation, and
// recipe.json, the run's settings.
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "report/input.h"

namespace onebit::report {

std::vector<MetricsRow> parse_metrics(std::string_view text) {
  std::vector<MetricsRow> rows;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    // A run that goes on may be in the middle of its last line.
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number()) continue;
    MetricsRow row{.step = object["step"].get<double>()};
    for (const auto& member : object.items()) {
      if (!member.value().is_number() || member.key() == "step") continue;
      const auto value = member.value().get<double>();
      constexpr double kMostBlocks = 1 << 20;
      if (member.key() != "block") {
        row.metrics[member.key()] = value;
      } else if (value >= 0 && value < kMostBlocks) {
        row.block = static_cast<std::int64_t>(value);
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

TrainingRun read_run(const std::filesystem::path& folder) {
  TrainingRun run{.origin = {.file = folder.string()}};
  const std::filesystem::path metrics = folder / "metrics.jsonl";
  std::error_code ignored;
  if (!std::filesystem::exists(metrics, ignored)) {
    throw Error(
        ErrorCode::kNotFound,
        fmt::format("{}: found no such file, expected the folder of a run", metrics.string()));
  }
  run.rows = parse_metrics(read_file(metrics));
  const std::filesystem::path recipe = folder / "recipe.json";
  if (std::filesystem::exists(recipe, ignored)) {
    const Json value = Json::parse(read_file(recipe), nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) {
      throw Error(ErrorCode::kCorrupt, fmt::format("{}: found text that is not JSON, expected the "
                                                   "run's settings",
                                                   recipe.string()));
    }
    const Fields fields(value, recipe.string());
    for (const auto& member : value.items()) {
      add_setting(fields, member.key().c_str(), member.key().c_str(), run.recipe);
    }
  }
  return run;
}

}  // namespace onebit::report
