#include "distill/metrics_file.h"

#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"

namespace onebit::distill {
namespace {

using nlohmann::ordered_json;

constexpr const char* kMetrics = "metrics.jsonl";
constexpr const char* kEvents = "events.out.tfevents.onebit";  // TensorBoard looks for "tfevents"

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The lines that stay. One that a killed process has left unfinished does not.
std::string kept_lines(const std::filesystem::path& path, const MetricsFile::Keep& keep) {
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto row = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (row.is_object() && row.contains("step") && keep(row)) kept += line + "\n";
  }
  return kept;
}

/// "loss" as "train/loss", "held_out_kl" as "held_out/kl", "block_error" as "block/error" over the
/// number of the block.
void add_event(const ordered_json& row, EventFile& events) {
  static const std::set<std::string_view> kNoScalars = {"step", "block", "blocks", "time",
                                                        "held_out_tokens"};
  std::vector<std::pair<std::string, double>> scalars;
  for (const auto& [key, value] : row.items()) {
    if (!value.is_number() || kNoScalars.contains(key)) continue;
    std::string tag = "train/" + key;
    for (const std::string group : {"held_out", "block"}) {
      if (key.starts_with(group + "_")) tag = group + "/" + key.substr(group.size() + 1);
    }
    scalars.emplace_back(std::move(tag), value.get<double>());
  }
  const std::int64_t step =
      row.contains("block") ? row["block"].get<std::int64_t>() : row.value("step", std::int64_t{0});
  if (!scalars.empty()) events.add(row.value("time", 0.0), step, scalars);
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& folder, const Keep& keep)
    : path_(folder / kMetrics), events_(folder / kEvents, now()) {
  const std::string kept = kept_lines(path_, keep);
  write_file(path_, kept);
  std::istringstream lines(kept);
  for (std::string line; std::getline(lines, line);) add_event(ordered_json::parse(line), events_);
  out_.open(path_, std::ios::app);
  if (!out_) throw Error(ErrorCode::kIo, fmt::format("{}: cannot write the file", path_.string()));
}

void MetricsFile::add(ordered_json row) {
  row["time"] = now();
  out_ << row.dump() << '\n' << std::flush;
  if (!out_) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: cannot write the file; is the disk full?", path_.string()));
  }
  add_event(row, events_);
}

}  // namespace onebit::distill
