// What a long run has measured so far, so that the same command goes on where it was broken off:
// FILE.part beside the output FILE, an object a line, the first of them saying whose run it is.
//
//   {"header": {…}}          all that changes results, by name
//   {…}                      a result each
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace onebit::cli {

class PartFile {
 public:
  using Json = nlohmann::ordered_json;

  /// Reads `out`.part, if it is there, for a run whose header is `header`, an object. A last line
  /// that a killed process has left unfinished is dropped. `restart`: so is all that is there.
  /// Nothing is written before the first result. Throws Error{kInvalidArgument} when the file is of
  /// another run, saying what differs; kCorrupt naming a line that is no object; kIo.
  PartFile(const std::filesystem::path& out, Json header, bool restart);

  /// The results that an earlier process has left, in the order of the file.
  const std::vector<Json>& kept() const noexcept { return kept_; }

  /// Appends a result; it is in the file when this returns. Throws Error{kIo} (disk full).
  void add(const Json& result);

  /// The run is complete: the file goes, if there is one.
  void remove();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void read();
  void open();

  std::filesystem::path path_;
  Json header_;
  std::vector<Json> kept_;
  std::ofstream file_;
};

}  // namespace onebit::cli
