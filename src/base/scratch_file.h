// Memory that lives on disk: a file without a name, mapped. What does not fit in memory is put here
// and read again; the system writes pages out and drops them when it needs the room.
#pragma once

#include <cstddef>
#include <filesystem>

namespace onebit {

class ScratchFile {
 public:
  /// `bytes` > 0, zero at first, in a file in `folder` that is gone with the object, or with the
  /// process. Throws Error{kIo}: no such folder, or not that much room in it.
  ScratchFile(const std::filesystem::path& folder, std::size_t bytes);
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile();

  std::byte* data() noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace onebit
