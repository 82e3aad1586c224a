#include "base/scratch_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

namespace onebit {
namespace {

[[noreturn]] void throw_io(const std::filesystem::path& folder, std::size_t bytes, int code) {
  throw Error(ErrorCode::kIo, fmt::format("{}: scratch file of {} bytes: {}", folder.string(),
                                          bytes, std::strerror(code)));
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, std::size_t bytes) : size_(bytes) {
  std::string name = (folder / ".scratch-XXXXXX").string();
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) throw_io(folder, bytes, errno);
  ::unlink(name.c_str());
  // The room is taken now: a write to a mapped page that finds none is a signal, not an error.
  const int code = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  void* mapped = MAP_FAILED;
  if (code == 0) mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int failure = code != 0 ? code : errno;
  ::close(fd);
  if (mapped == MAP_FAILED) throw_io(folder, bytes, failure);
  data_ = static_cast<std::byte*>(mapped);
}

ScratchFile::~ScratchFile() { ::munmap(data_, size_); }

}  // namespace onebit
