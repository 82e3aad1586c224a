// safetensors: one file, a sharded set with its index, and a writer.
//
//   file = u64 n  JSON header of n bytes  data;  header[name] = {dtype, shape, data_offsets: [b,
//   e]} offsets are relative to data, ranges neither overlap nor leave holes, __metadata__ is
//   strings.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_view.h"

namespace onebit::file {

struct SafeTensor {
  std::string name;
  formats::TensorView view;
};

/// Errors as GgufFile's. Element types: F64 F32 F16 BF16 I64 I32 I16 I8. Tensors of other types are
/// not in tensors(), and an Error{kUnsupported} only when they are asked for by name.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string name);

  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  /// In the order of their bytes.
  const std::vector<SafeTensor>& tensors() const noexcept;
  /// Null when absent. Throws Error{kUnsupported} for an element type outside the list above.
  const SafeTensor* find(std::string_view name) const;
  /// Also true for a tensor of an unsupported type.
  bool contains(std::string_view name) const noexcept;
  const std::map<std::string, std::string>& metadata() const noexcept;
  std::span<const std::byte> bytes() const noexcept;
  void release(const formats::TensorView& view) const noexcept;

 private:
  struct Impl;
  explicit SafetensorsFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A model folder's weights: model.safetensors, or the shards of model.safetensors.index.json.
class SafetensorsSet {
 public:
  /// Throws Error{kNotFound} when the folder has neither file or a shard is missing, and
  /// Error{kCorrupt} when the index names a file outside the folder or a tensor that its shard does
  /// not hold, or when two shards hold the same name; otherwise as SafetensorsFile.
  static SafetensorsSet open(const std::filesystem::path& folder);

  /// As SafetensorsFile::find, over all shards.
  const SafeTensor* find(std::string_view name) const;
  /// In name order, as shards().
  const std::vector<std::filesystem::path>& files() const noexcept { return paths_; }
  const std::vector<SafetensorsFile>& shards() const noexcept { return shards_; }
  void release(const formats::TensorView& view) const noexcept;

 private:
  std::vector<std::filesystem::path> paths_;
  std::vector<SafetensorsFile> shards_;
};

/// Writes one safetensors file: declare all, then stream in declaration order, as GgufWriter. The
/// same calls give the same bytes. A file that is not finished never appears.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(const std::filesystem::path& path);
  ~SafetensorsWriter();
  /// Throws Error{kInvalidArgument} unless both are UTF-8.
  void set_metadata(std::string_view key, std::string_view value);
  /// Throws Error{kInvalidArgument} for a block type, a negative or overflowing shape, and a name
  /// that is not UTF-8, is declared already or is "__metadata__".
  void declare(std::string_view name, formats::DType dtype, const formats::Shape& shape);
  void write(std::string_view name, std::span<const std::byte> bytes);
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::file
