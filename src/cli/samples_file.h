// The file of scored documents beside the results of `eval`. It grows batch by batch under the name
// FILE.part, which a run of the same command goes on from, and gets its own name when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "eval/sample.h"

namespace onebit::cli {

class SamplesFile {
 public:
  /// Opens `path`.part. `identity` is everything that decides the scores: it becomes the file's
  /// first line, and where the file is there already its first line must say the same. `restart`
  /// begins anew whatever is there. Throws Error{kInvalidArgument} naming what differs,
  /// Error{kCorrupt} for a file that is none of samples, Error{kIo}; also where another process is
  /// writing the file.
  SamplesFile(std::filesystem::path path, const nlohmann::ordered_json& identity, bool restart);
  ~SamplesFile();
  SamplesFile(const SamplesFile&) = delete;
  SamplesFile& operator=(const SamplesFile&) = delete;

  /// What an earlier process has left, up to the last whole line.
  const std::vector<eval::Sample>& found() const { return found_; }

  /// Cuts the file after so many of found().
  void keep(std::size_t count);

  /// Appends, so that nothing of it is lost when the process ends. Throws Error{kIo}.
  void add(std::span<const eval::Sample> samples);

  /// Flushes to disk and gives the file its name. Throws Error{kIo}.
  void commit();

  const std::filesystem::path& part() const { return part_; }

  /// A message that names the file: "results.samples.jsonl.part, line 7: …".
  std::string place(std::size_t line) const;

 private:
  void read(const nlohmann::ordered_json& identity);
  void append(std::string_view text);
  void cut(std::uint64_t size);

  std::filesystem::path path_;
  std::filesystem::path part_;
  int fd_ = -1;
  std::vector<eval::Sample> found_;
  std::vector<std::uint64_t> ends_;  ///< ends_[n]: bytes of the header and n samples
};

}  // namespace onebit::cli
