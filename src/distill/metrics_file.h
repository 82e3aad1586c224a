// metrics.jsonl: one object a line, in the order of the steps, readable while the run goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

namespace onebit::distill {

class MetricsFile {
 public:
  /// Opens for appending after what is there of steps 0 … `steps`; later lines, which a run that
  /// was killed may have left, go. 0 begins anew. Throws Error{kIo}.
  MetricsFile(std::filesystem::path path, std::int64_t steps);

  /// Appends `row`, which has a member "step". Throws Error{kIo} (disk full).
  void add(const nlohmann::ordered_json& row);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace onebit::distill
