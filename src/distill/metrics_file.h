// What a run measures, step by step: metrics.jsonl, one object a line, readable while the run goes
// on; and the same scalars for TensorBoard beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

#include "distill/event_file.h"

namespace onebit::distill {

class MetricsFile {
 public:
  /// Opens `folder`/metrics.jsonl for appending after what is there of steps 0 … `steps` and of
  /// blocks below `blocks`; later lines, which a run that was killed may have left, go, and so do
  /// evaluations after `steps`: the run that goes on begins with one. −1 steps: begins anew. The
  /// event file is written anew from the lines that stay. Throws Error{kIo}.
  MetricsFile(const std::filesystem::path& folder, std::int64_t steps, std::int64_t blocks);

  /// Appends `row`, which has a member "step", and the time (seconds since 1970). Throws Error{kIo}
  /// (disk full).
  void add(nlohmann::ordered_json row);

 private:
  std::filesystem::path path_;
  EventFile events_;
  std::ofstream out_;
};

}  // namespace onebit::distill
