#include "cli/part_file.h"

#include <fmt/format.h>
#include <istream>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace onebit::cli {
namespace {

using Json = PartFile::Json;

constexpr const char* kHeader = "header";

/// The next line with its end; nothing for what a killed process has left of one.
std::optional<std::string> whole_line(std::istream& file) {
  std::string line;
  if (!std::getline(file, line) || file.eof()) return std::nullopt;
  return line;
}

/// The header in a file's first line, if it is one.
std::optional<Json> header_in(const std::string& line) {
  Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains(kHeader) || !object[kHeader].is_object()) {
    return std::nullopt;
  }
  return std::move(object[kHeader]);
}

}  // namespace

std::filesystem::path PartFile::path_of(const std::filesystem::path& out) {
  return out.string() + ".part";
}

std::string PartFile::difference(const Json& found, const Json& expected) {
  const auto text = [](const Json& object, const std::string& key) {
    return object.contains(key) ? object[key].dump() : "none";
  };
  for (const Json* object : {&expected, &found}) {
    for (const auto& [key, value] : object->items()) {
      const std::string there = text(found, key);
      const std::string here = text(expected, key);
      if (there != here) return fmt::format("{} {}, expected {}", key, there, here);
    }
  }
  return {};
}

std::optional<Json> PartFile::header_of(const std::filesystem::path& out) {
  std::ifstream file(path_of(out), std::ios::binary);
  const std::optional<std::string> line = whole_line(file);
  return line ? header_in(*line) : std::nullopt;
}

PartFile::PartFile(const std::filesystem::path& out, Json header, bool restart,
                   const OnKept& on_kept)
    : path_(path_of(out)), header_(std::move(header)) {
  if (!restart && std::filesystem::exists(path_)) read(on_kept);
}

PartFile::PartFile(const std::filesystem::path& out, Json header, bool restart)
    : PartFile(out, std::move(header), restart,
               [this](Json result) { kept_.push_back(std::move(result)); }) {}

void PartFile::open() {
  if (whole_ == 0) {
    Json first;
    first[kHeader] = header_;
    write_file(path_, first.dump() + '\n');
  } else {
    std::error_code error;
    std::filesystem::resize_file(path_, whole_, error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("{}: {}", path_.string(), error.message()));
    }
  }
  file_.open(path_, std::ios::app | std::ios::binary);
  if (!file_) throw Error(ErrorCode::kIo, fmt::format("cannot write {}", path_.string()));
}

void PartFile::read(const OnKept& on_kept) {
  std::ifstream file(path_, std::ios::binary);
  if (!file) throw Error(ErrorCode::kIo, fmt::format("cannot read {}", path_.string()));
  const auto wrong = [&](int number, const std::string& line, const char* expected) {
    return Error(ErrorCode::kCorrupt,
                 fmt::format("{}: line {}: found '{}', expected {}; --restart begins anew",
                             path_.string(), number, line.substr(0, 40), expected));
  };
  for (int number = 1;; ++number) {
    const std::optional<std::string> line = whole_line(file);
    if (!line) return;
    if (number == 1) {
      const std::optional<Json> found = header_in(*line);
      if (!found) throw wrong(number, *line, "the header of a run");
      const std::string differs = difference(*found, header_);
      if (!differs.empty()) {
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("{}: found the results of another run: {}; --restart begins anew",
                                path_.string(), differs));
      }
    } else {
      Json object = Json::parse(*line, nullptr, /*allow_exceptions=*/false);
      if (!object.is_object()) throw wrong(number, *line, "an object");
      on_kept(std::move(object));
    }
    whole_ += line->size() + 1;
  }
}

void PartFile::copy_to(AtomicFile& out, std::int64_t results) {
  std::ifstream file(path_, std::ios::binary);
  whole_line(file);  // the header
  for (std::int64_t i = 0; i < results; ++i) {
    const std::optional<std::string> line = whole_line(file);
    if (!line) throw Error(ErrorCode::kIo, fmt::format("cannot read {}", path_.string()));
    out.write(*line + '\n');
  }
}

void PartFile::add(const Json& result) {
  if (!file_.is_open()) open();
  file_ << result.dump() << '\n' << std::flush;
  if (!file_) {
    throw Error(ErrorCode::kIo, fmt::format("cannot write {}; is the disk full?", path_.string()));
  }
}

void PartFile::remove() {
  file_.close();
  std::error_code ignored;  // what is complete is complete
  std::filesystem::remove(path_, ignored);
}

}  // namespace onebit::cli
