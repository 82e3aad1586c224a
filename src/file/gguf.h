// GGUF version 3: reader and writer.
//
//   file     = "GGUF" u32 version  u64 n_tensors  u64 n_metadata  metadata*  tensor*  pad  data
//   metadata = string key  u32 type  value           (string = u64 length, bytes, no terminator)
//   array    = u32 element type  u64 length  value*  (arrays may nest)
//   tensor   = string name  u32 n_dims  u64 dim*  u32 type  u64 offset   (innermost dim first)
//   pad      = zeros to general.alignment (32 when absent); tensor offsets are relative to data and
//              are multiples of the alignment. All numbers little endian. Version 2 reads the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "formats/tensor_view.h"

namespace onebit::file {

struct GgufValue;

/// Elements of one type. Nested arrays hold GgufValue.
using GgufArray =
    std::variant<std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
                 std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
                 std::vector<float>, std::vector<bool>, std::vector<std::string>,
                 std::vector<GgufValue>, std::vector<std::uint64_t>, std::vector<std::int64_t>,
                 std::vector<double>>;

/// One metadata value; the variant's alternative is its GGUF type.
struct GgufValue {
  std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
               float, bool, std::string, GgufArray, std::uint64_t, std::int64_t, double>
      value;
};

struct GgufTensor {
  std::string name;
  formats::TensorView view;  ///< shape outermost first; bytes inside the mapped file
};

/// A mapped GGUF file, every offset and size checked at open. Throws Error{kNotFound, kIo} when it
/// cannot be read and Error{kCorrupt, kUnsupported} with file, object, found and expected
/// otherwise.
class GgufFile {
 public:
  static GgufFile open(const std::filesystem::path& path);

  /// The same from memory (tests, fuzzing); `bytes` must outlive the object. `name` is for
  /// messages.
  static GgufFile parse(std::span<const std::byte> bytes, std::string name);

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  /// In file order; keys are unique.
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const noexcept;
  const std::vector<GgufTensor>& tensors() const noexcept;

  const GgufValue* find(std::string_view key) const noexcept;
  const GgufTensor* find_tensor(std::string_view name) const noexcept;

  /// Typed access: any integer type converts when it fits, f32/f64 to double. Error{kCorrupt} when
  /// the key is there with another type; nothing when it is absent.
  std::optional<std::int64_t> get_int(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string> get_string(std::string_view key) const;
  const std::vector<std::string>* get_strings(std::string_view key) const;
  std::optional<std::vector<std::int64_t>> get_ints(std::string_view key) const;
  const std::vector<float>* get_floats(std::string_view key) const;

  /// As above, but absence is Error{kCorrupt} too.
  std::int64_t require_int(std::string_view key) const;
  std::string require_string(std::string_view key) const;

  std::span<const std::byte> bytes() const noexcept;  ///< the whole file
  const std::string& name() const noexcept;           ///< path, for messages

  /// See MappedFile::release; `view` must be of this file.
  void release(const formats::TensorView& view) const noexcept;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// True for a regular file that begins with GGUF's magic number.
bool is_gguf(const std::filesystem::path& path);

/// Declares everything first, then streams the tensors' bytes in declaration order. The same calls
/// give the same bytes. A file that is not finished never appears.
class GgufWriter {
 public:
  /// Throws Error{kIo} when the folder cannot be written.
  explicit GgufWriter(const std::filesystem::path& path);
  ~GgufWriter();

  /// A key given twice keeps its place and takes the new value. general.alignment sets the file's
  /// alignment (32 unless set, and always written): Error{kInvalidArgument} unless it is a u32, a
  /// power of two and at least 8. Throws also for a key longer than 65535 bytes, the format's
  /// limit.
  void set(std::string_view key, GgufValue value);

  /// Shape outermost first. Throws Error{kInvalidArgument} for a duplicate name or one longer than
  /// 63 bytes (ggml's limit), more than four dimensions, a dimension below 1, or a last dimension
  /// that is not a whole number of blocks.
  void declare(std::string_view name, formats::DType dtype, const formats::Shape& shape);

  /// The next declared tensor's bytes; the first call writes the header. `name` must be that
  /// tensor's, and the size must match: programmer errors otherwise (ONEBIT_CHECK), as are set()
  /// and declare() after it.
  void write(std::string_view name, std::span<const std::byte> bytes);

  /// Of the whole file; writes the header, as the first write() does.
  std::uint64_t file_bytes();

  /// All tensors written: the file appears. Throws Error{kIo}.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::file
