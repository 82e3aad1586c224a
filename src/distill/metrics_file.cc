#include "distill/metrics_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"

namespace onebit::distill {

MetricsFile::MetricsFile(std::filesystem::path path, std::int64_t steps, std::int64_t blocks)
    : path_(std::move(path)) {
  std::string kept;
  if (steps >= 0) {
    std::ifstream in(path_);
    for (std::string line; std::getline(in, line);) {
      const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!row.is_object() || row.value("step", steps + 1) > steps) continue;
      if (row.value("block", std::int64_t{-1}) >= blocks) continue;
      if (row.value("step", steps) == steps && row.contains("held_out_kl") && steps > 0) continue;
      kept += line + "\n";
    }
  }
  write_file(path_, kept);
  out_.open(path_, std::ios::app);
  if (!out_) throw Error(ErrorCode::kIo, fmt::format("{}: cannot write the file", path_.string()));
}

void MetricsFile::add(const nlohmann::ordered_json& row) {
  out_ << row.dump() << '\n' << std::flush;
  if (!out_) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: cannot write the file; is the disk full?", path_.string()));
  }
}

}  // namespace onebit::distill
