// What a run measures, step by step: metrics.jsonl, one object a line, readable while the run goes
// on; and the same scalars for TensorBoard beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json_fwd.hpp>

#include "distill/event_file.h"

namespace onebit::distill {

class MetricsFile {
 public:
  /// Whether a row of the file, which an earlier process has left, stands for what this run has
  /// done.
  using Keep = std::function<bool(const nlohmann::ordered_json& row)>;

  /// Opens `folder`/metrics.jsonl for appending after the rows that stay. The event file is written
  /// anew from them. Throws Error{kIo}.
  MetricsFile(const std::filesystem::path& folder, const Keep& keep);

  /// Appends `row`, which has a member "step", and the time (seconds since 1970). Throws Error{kIo}
  /// (disk full).
  void add(nlohmann::ordered_json row);

 private:
  std::filesystem::path path_;
  EventFile events_;
  std::ofstream out_;
};

}  // namespace onebit::distill
