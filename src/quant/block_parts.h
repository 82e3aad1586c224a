// What calibrated blocks have become, in files until the whole model is done: a run that is broken
// off goes on with the block that it was at. Blocks before it cost a pass of the calibration text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/dtype.h"
#include "formats/tensor_view.h"

namespace onebit::file {
class SafetensorsFile;
}

namespace onebit::quant {

/// Arrays by name: floats, bytes and integers.
class BlockPart {
 public:
  void add(const std::string& name, std::span<const float> values);
  void add(const std::string& name, std::span<const std::uint8_t> values);
  void add(const std::string& name, std::span<const std::int32_t> values);

  /// Of a name that there is, else none. Throw Error{kCorrupt} for one of another type.
  std::vector<float> floats(const std::string& name) const;
  std::vector<std::uint8_t> bytes(const std::string& name) const;
  std::vector<std::int32_t> integers(const std::string& name) const;

 private:
  friend class BlockParts;
  struct Array {
    formats::DType type = formats::DType::kF32;
    std::vector<std::byte> data;
  };
  template <class T>
  std::vector<T> read(const std::string& name, formats::DType type) const;

  std::map<std::string, Array> arrays_;
};

/// FOLDER/0.safetensors and so on, of one run.
class BlockParts {
 public:
  /// All that decides what blocks become: `identity`, and `plan` where this takes work to find out.
  /// Throws as require_run(), and for another plan.
  BlockParts(std::filesystem::path folder, std::string identity, std::string plan);

  /// Throws Error{kInvalidArgument} when the folder holds parts of another run than `identity`,
  /// Error{kIo} when it is a file.
  static void require_run(const std::filesystem::path& folder, std::string_view identity);

  /// What an earlier run has left of the block, if anything. Throws Error{kCorrupt} naming the
  /// file.
  std::optional<BlockPart> load(std::int64_t layer) const;

  /// Whole or not at all. Throws Error{kIo}.
  void save(std::int64_t layer, const BlockPart& part) const;

  /// The run is complete.
  void remove() const { discard(folder_); }

  /// Removes the parts in a folder, and the folder if it holds nothing else.
  static void discard(const std::filesystem::path& folder);

 private:
  std::filesystem::path file(std::int64_t layer) const;
  /// Parts, and what a writer that was killed has left of them.
  static std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder);
  void require_own(const file::SafetensorsFile& stored, const std::filesystem::path& file) const;

  std::filesystem::path folder_;
  std::string identity_;
  std::string plan_;
};

}  // namespace onebit::quant
