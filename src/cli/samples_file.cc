#include "cli/samples_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"

namespace onebit::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

[[noreturn]] void throw_io(const char* what, const std::filesystem::path& path, int error) {
  throw Error(ErrorCode::kIo,
              fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(error)));
}

std::string value_text(const json& object, const std::string& pointer) {
  const json::json_pointer place(pointer);
  return object.contains(place) ? object.at(place).dump() : "none";
}

/// "limit: found 100, expected 200": the first difference of two headers.
std::string difference(const json& found, const json& expected) {
  const json changes = json::diff(found, expected);
  ONEBIT_CHECK(!changes.empty());
  const std::string pointer = changes.front().at("path").get<std::string>();
  return fmt::format("{}: found {}, expected {}", pointer.substr(1), value_text(found, pointer),
                     value_text(expected, pointer));
}

}  // namespace

SamplesFile::SamplesFile(std::filesystem::path path, const ordered_json& identity, bool restart)
    : path_(std::move(path)), part_(path_) {
  part_ += ".part";
  fd_ = ::open(part_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_io("create", part_, errno);
  try {
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) throw_io("lock", part_, errno);
      throw Error(
          ErrorCode::kIo,
          fmt::format("{}: found another process that writes it, expected none", part_.string()));
    }
    if (restart) cut(0);
    read(identity);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SamplesFile::~SamplesFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::string SamplesFile::place(std::size_t line) const {
  return fmt::format("{}, line {}", part_.string(), line);
}

void SamplesFile::read(const ordered_json& identity) {
  const std::string content = read_file(part_);
  const std::size_t header = content.find('\n');
  if (header == std::string::npos) {  // nothing, or not even a whole first line
    cut(0);
    append(ordered_json{{"header", identity}}.dump() + '\n');
    ends_ = {static_cast<std::uint64_t>(::lseek(fd_, 0, SEEK_END))};
    return;
  }
  const json first =
      json::parse(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(header), nullptr,
                  /*allow_exceptions=*/false);
  if (!first.is_object() || !first.contains("header") || !first["header"].is_object()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found no header of samples, expected what an earlier run has left "
                            "(--restart begins anew)",
                            place(1)));
  }
  const json expected = identity;
  if (first["header"] != expected) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: what another run has left: {} (--restart begins anew)",
                            part_.string(), difference(first["header"], expected)));
  }
  ends_ = {header + 1};
  for (std::size_t begin = header + 1; begin < content.size();) {
    const std::size_t end = content.find('\n', begin);
    if (end == std::string::npos) break;  // a line that its writer could not finish
    try {
      found_.push_back(eval::parse_line(std::string_view(content).substr(begin, end - begin)));
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: {} (--restart begins anew)",
                                            place(found_.size() + 2), error.what()));
    }
    begin = end + 1;
    ends_.push_back(begin);
  }
  keep(found_.size());
}

void SamplesFile::keep(std::size_t count) {
  ONEBIT_CHECK(count <= found_.size());
  found_.resize(count);
  ends_.resize(count + 1);
  cut(ends_.back());
}

void SamplesFile::cut(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) throw_io("write", part_, errno);
}

void SamplesFile::add(std::span<const eval::Sample> samples) {
  std::string text;
  for (const eval::Sample& sample : samples) {
    text += eval::to_line(sample);
    text += '\n';
  }
  append(text);
}

void SamplesFile::append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_io("write", part_, errno);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void SamplesFile::commit() {
  if (::fsync(fd_) != 0) throw_io("flush", part_, errno);
  if (::rename(part_.c_str(), path_.c_str()) != 0) throw_io("rename", part_, errno);
  ::close(std::exchange(fd_, -1));
}

}  // namespace onebit::cli
