// metrics.jsonl: one object a line, in the order of the steps, readable while the run goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

namespace onebit::distill {

class MetricsFile {
 public:
  /// Opens for appending after what is there of steps 0 … `steps` and of blocks below `blocks`;
  /// later lines, which a run that was killed may have left, go, and so do evaluations after
  /// `steps`: the run that goes on begins with one. −1 steps: begins anew. Throws Error{kIo}.
  MetricsFile(std::filesystem::path path, std::int64_t steps, std::int64_t blocks);

  /// Appends `row`, which has a member "step". Throws Error{kIo} (disk full).
  void add(const nlohmann::ordered_json& row);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace onebit::distill
