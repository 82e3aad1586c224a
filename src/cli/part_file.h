// What a long run has measured so far, so that the same command goes on where it was broken off:
// FILE.part beside the output FILE, an object a line, the first of them saying whose run it is.
//
//   {"header": {…}}          all that changes results, by name
//   {…}                      a result each
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/atomic_file.h"

namespace onebit::cli {

class PartFile {
 public:
  using Json = nlohmann::ordered_json;

  /// `out`.part
  static std::filesystem::path path_of(const std::filesystem::path& out);

  /// The header in `out`.part; nothing where there is none.
  static std::optional<Json> header_of(const std::filesystem::path& out);

  /// "window 256, expected 512": the first member in which two headers differ; empty if none does.
  static std::string difference(const Json& found, const Json& expected);

  /// Reads `out`.part, if it is there, for a run whose header is `header`, an object. A last line
  /// that a killed process has left unfinished is dropped. `restart`: so is all that is there.
  /// Nothing is written before the first result. `on_kept` gets the results that an earlier process
  /// has left, in the order of the file. Throws Error{kInvalidArgument} when the file is of another
  /// run, saying what differs; kCorrupt naming a line that is no object; kIo.
  using OnKept = std::function<void(Json)>;
  PartFile(const std::filesystem::path& out, Json header, bool restart, const OnKept& on_kept);

  /// The same with these results in kept().
  PartFile(const std::filesystem::path& out, Json header, bool restart);
  const std::vector<Json>& kept() const noexcept { return kept_; }

  /// Appends a result; it is in the file when this returns. Throws Error{kIo} (disk full).
  void add(const Json& result);

  /// Writes the lines of the first `results` to `out`. Throws Error{kIo}.
  void copy_to(AtomicFile& out, std::int64_t results);

  /// The run is complete: the file goes, if there is one.
  void remove();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  void read(const OnKept& on_kept);
  void open();

  std::filesystem::path path_;
  Json header_;
  std::vector<Json> kept_;
  std::uintmax_t whole_ = 0;  ///< bytes of the file's whole lines, before anything is added
  std::ofstream file_;
};

}  // namespace onebit::cli
