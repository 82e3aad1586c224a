// A file of text as a std::istream, whether stored plain or compressed (gzip, xz, zstd, bzip2; told
// apart by content, not by name). Decompression is libarchive's; memory is one block of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <memory>
#include <string>

namespace onebit::distill {

class TextInput {
 public:
  /// Throws Error{kNotFound, kIo} naming the file.
  explicit TextInput(const std::filesystem::path& path);
  ~TextInput();

  /// Reading throws Error{kCorrupt} for a damaged or truncated compressed file, Error{kIo} when the
  /// file itself cannot be read.
  std::istream& stream() noexcept;

  /// Bytes read so far of the file as it is on disk.
  std::uint64_t consumed() const;

 private:
  class Buffer;
  std::unique_ptr<Buffer> buffer_;
  std::istream stream_;
};

/// The name's extension without that of a compression: ".jsonl" for a.jsonl and a.jsonl.xz alike.
std::string text_extension(const std::filesystem::path& path);

}  // namespace onebit::distill
