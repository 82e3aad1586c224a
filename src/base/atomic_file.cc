#include "base/atomic_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace onebit {
namespace {

constexpr std::string_view kTemporary = ".tmp-";            // and the process's number
constexpr std::size_t kBufferBytes = std::size_t{1} << 20;  // few system calls, little memory

[[noreturn]] void throw_io(const char* what, const std::filesystem::path& path, int error) {
  throw Error(ErrorCode::kIo,
              fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(error)));
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path destination) : destination_(std::move(destination)) {
  std::error_code ignored;  // what cannot be looked at is open()'s to report
  const std::filesystem::file_status there = std::filesystem::status(destination_, ignored);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there)) {
    throw Error(ErrorCode::kIo,
                fmt::format("cannot create {}: found a {}, expected a file or nothing",
                            destination_.string(),
                            std::filesystem::is_directory(there) ? "folder" : "device or pipe"));
  }
  temporary_ = destination_;
  temporary_ += fmt::format("{}{}", kTemporary, ::getpid());
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_io("create", destination_, errno);
  buffer_.reserve(kBufferBytes);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write(std::string_view text) {
  position_ += text.size();
  while (!text.empty()) {
    const std::size_t room = kBufferBytes - buffer_.size();
    const std::string_view part = text.substr(0, room);
    buffer_.append(part);
    text.remove_prefix(part.size());
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void AtomicFile::flush() {
  const char* data = buffer_.data();
  std::size_t left = buffer_.size();
  while (left > 0) {
    const ssize_t written = ::write(fd_, data, left);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_io("write", destination_, errno);
    }
    data += written;
    left -= static_cast<std::size_t>(written);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) throw_io("flush", destination_, errno);
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    throw_io("close", destination_, error);
  }
  if (::rename(temporary_.c_str(), destination_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    throw_io("rename to", destination_, error);
  }
}

void remove_abandoned(const std::filesystem::path& destination) {
  const std::string beginning = destination.filename().string() + std::string(kTemporary);
  std::error_code ignored;
  std::vector<std::filesystem::path> abandoned;
  for (const auto& entry :
       std::filesystem::directory_iterator(destination.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(beginning)) continue;
    pid_t process = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + beginning.size(), end, process);
    if (error != std::errc() || stop != end || process <= 0) continue;
    const std::filesystem::path processes("/proc");
    if (std::filesystem::exists(processes / "self", ignored) &&
        !std::filesystem::exists(processes / std::to_string(process), ignored)) {
      abandoned.push_back(entry.path());
    }
  }
  for (const auto& file : abandoned) std::filesystem::remove(file, ignored);
}

void require_writable(const std::filesystem::path& path) { const AtomicFile tried(path); }

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void copy_atomically(const std::filesystem::path& from, const std::filesystem::path& to) {
  const MappedFile source = MappedFile::open(from);
  AtomicFile file(to);
  const std::size_t size = source.bytes().size();
  for (std::size_t begin = 0; begin < size; begin += kBufferBytes) {
    const std::size_t count = std::min(kBufferBytes, size - begin);
    file.write(source.bytes().subspan(begin, count));
    source.release(begin, count);
  }
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  const MappedFile file = MappedFile::open(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace onebit
