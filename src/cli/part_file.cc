#include "cli/part_file.h"

#include <fmt/format.h>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/error.h"

namespace onebit::cli {
namespace {

using Json = PartFile::Json;

constexpr const char* kHeader = "header";

/// "window 256, expected 512": the first member in which two headers differ; empty if none does.
std::string difference(const Json& found, const Json& expected) {
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

}  // namespace

PartFile::PartFile(const std::filesystem::path& out, Json header, bool restart)
    : path_(out.string() + ".part"), header_(std::move(header)) {
  if (!restart && std::filesystem::exists(path_)) read();
}

void PartFile::open() {
  Json first;
  first[kHeader] = header_;
  std::string text = first.dump() + '\n';
  for (const Json& result : kept_) text += result.dump() + '\n';
  write_file(path_, text);
  file_.open(path_, std::ios::app);
  if (!file_) throw Error(ErrorCode::kIo, fmt::format("cannot write {}", path_.string()));
}

void PartFile::read() {
  const std::string text = read_file(path_);
  std::string_view rest = text;
  bool headed = false;
  for (int number = 1; rest.find('\n') != std::string_view::npos; ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool fits =
        headed || (object.is_object() && object.contains(kHeader) && object[kHeader].is_object());
    if (!object.is_object() || !fits) {
      throw Error(
          ErrorCode::kCorrupt,
          fmt::format("{}: line {}: found '{}', expected {}; --restart begins anew", path_.string(),
                      number, line.substr(0, 40), headed ? "an object" : "the header of a run"));
    }
    if (headed) {
      kept_.push_back(std::move(object));
      continue;
    }
    headed = true;
    const std::string differs = difference(object[kHeader], header_);
    if (!differs.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found the results of another run: {}; --restart begins anew",
                              path_.string(), differs));
    }
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
