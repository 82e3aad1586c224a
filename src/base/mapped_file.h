// A read-only view of a whole file, memory-mapped.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace onebit {

class MappedFile {
 public:
  /// Maps the file. Throws Error{kNotFound, kIo}. An empty file gives an empty view.
  /// The file must not be truncated by others while mapped (the kernel then signals SIGBUS).
  static MappedFile open(const std::filesystem::path& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const noexcept {
    return {static_cast<const std::byte*>(data_), size_};
  }

  /// Tells the kernel that [offset, offset + size) will not be needed again soon: its pages stop
  /// counting against this process. The view stays valid. Never fails.
  void release(std::size_t offset, std::size_t size) const noexcept;

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace onebit
