// An output file that appears whole or not at all: written under a temporary name beside its
// destination, renamed by commit(), removed if commit() is never reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace onebit {

class AtomicFile {
 public:
  /// Creates the temporary file. Throws Error{kIo}: missing or unwritable folder; a destination
  /// that is there and no regular file, since a rename would replace a device such as /dev/null.
  explicit AtomicFile(std::filesystem::path destination);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Appends. Throws Error{kIo} (disk full).
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  /// Bytes written so far.
  std::uint64_t position() const noexcept { return position_; }

  /// Flushes to disk and renames over the destination. Throws Error{kIo}; call once, last.
  void commit();

 private:
  void flush();

  std::filesystem::path destination_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  std::uint64_t position_ = 0;
  std::string buffer_;
};

/// Removes what processes of this machine that are no more have left under temporary names of
/// `destination`.
void remove_abandoned(const std::filesystem::path& destination);

/// Before long work: throws as an AtomicFile of that name would.
void require_writable(const std::filesystem::path& path);

/// Whole-file convenience: write `text` to `path` atomically.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Copies a file; what is at `to` is whole at any time. Throws Error{kNotFound, kIo}.
void copy_atomically(const std::filesystem::path& from, const std::filesystem::path& to);

/// Reads a whole file. Throws Error{kNotFound, kIo}.
std::string read_file(const std::filesystem::path& path);

}  // namespace onebit
