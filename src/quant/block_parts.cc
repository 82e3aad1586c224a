#include "quant/block_parts.h"

#include <cstring>
#include <fmt/format.h>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "file/safetensors.h"

namespace onebit::quant {
namespace {

using formats::DType;

constexpr const char* kIdentityKey = "onebit.run";
constexpr const char* kPlanKey = "onebit.plan";
constexpr const char* kEnding = ".safetensors";

void require_metadata(const file::SafetensorsFile& stored, const std::filesystem::path& file,
                      const char* key, std::string_view expected) {
  const auto found = stored.metadata().find(key);
  if (found != stored.metadata().end() && found->second == expected) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: found blocks of a run with other settings, model or text, expected "
                          "those of this one; --restart begins anew",
                          file.string()));
}

}  // namespace

void BlockPart::add(const std::string& name, std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  arrays_[name] = {DType::kF32, {bytes.begin(), bytes.end()}};
}

void BlockPart::add(const std::string& name, std::span<const std::uint8_t> values) {
  const auto bytes = std::as_bytes(values);
  arrays_[name] = {DType::kI8, {bytes.begin(), bytes.end()}};
}

void BlockPart::add(const std::string& name, std::span<const std::int32_t> values) {
  const auto bytes = std::as_bytes(values);
  arrays_[name] = {DType::kI32, {bytes.begin(), bytes.end()}};
}

template <class T>
std::vector<T> BlockPart::read(const std::string& name, DType type) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) return {};
  if (found->second.type != type) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("array {}: found type {}, expected {}", name,
                            formats::info(found->second.type).name, formats::info(type).name));
  }
  std::vector<T> values(found->second.data.size() / sizeof(T));
  std::memcpy(values.data(), found->second.data.data(), values.size() * sizeof(T));
  return values;
}

std::vector<float> BlockPart::floats(const std::string& name) const {
  return read<float>(name, DType::kF32);
}
std::vector<std::uint8_t> BlockPart::bytes(const std::string& name) const {
  return read<std::uint8_t>(name, DType::kI8);
}
std::vector<std::int32_t> BlockPart::integers(const std::string& name) const {
  return read<std::int32_t>(name, DType::kI32);
}

BlockParts::BlockParts(std::filesystem::path folder, std::string identity, std::string plan)
    : folder_(std::move(folder)), identity_(std::move(identity)), plan_(std::move(plan)) {
  require_run(folder_, identity_);
  for (const std::filesystem::path& part : files_of(folder_)) {
    if (part.extension() == kEnding) require_own(file::SafetensorsFile::open(part), part);
  }
}

void BlockParts::require_run(const std::filesystem::path& folder, std::string_view identity) {
  std::error_code ignored;
  const std::filesystem::file_status there = std::filesystem::status(folder, ignored);
  if (std::filesystem::exists(there) && !std::filesystem::is_directory(there)) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: found a file, expected nothing or a folder: blocks "
                            "that are done are kept there",
                            folder.string()));
  }
  for (const std::filesystem::path& part : files_of(folder)) {
    if (part.extension() != kEnding) continue;
    require_metadata(file::SafetensorsFile::open(part), part, kIdentityKey, identity);
  }
}

std::filesystem::path BlockParts::file(std::int64_t layer) const {
  return folder_ / fmt::format("{}{}", layer, kEnding);
}

std::optional<BlockPart> BlockParts::load(std::int64_t layer) const {
  std::error_code ignored;
  if (!std::filesystem::exists(file(layer), ignored)) return std::nullopt;
  const auto stored = file::SafetensorsFile::open(file(layer));
  require_own(stored, file(layer));
  BlockPart part;
  for (const file::SafeTensor& tensor : stored.tensors()) {
    part.arrays_[tensor.name] = {tensor.view.dtype,
                                 {tensor.view.data.begin(), tensor.view.data.end()}};
  }
  return part;
}

void BlockParts::require_own(const file::SafetensorsFile& stored,
                             const std::filesystem::path& file) const {
  require_metadata(stored, file, kIdentityKey, identity_);
  require_metadata(stored, file, kPlanKey, plan_);
}

void BlockParts::save(std::int64_t layer, const BlockPart& part) const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("{}: {}", folder_.string(), error.message()));
  }
  file::SafetensorsWriter writer(file(layer));
  writer.set_metadata(kIdentityKey, identity_);
  writer.set_metadata(kPlanKey, plan_);
  for (const auto& [name, array] : part.arrays_) {
    const auto size = static_cast<std::int64_t>(formats::info(array.type).block_bytes);
    writer.declare(name, array.type, {std::ssize(array.data) / size});
  }
  for (const auto& [name, array] : part.arrays_) writer.write(name, array.data);
  writer.finish();
}

std::vector<std::filesystem::path> BlockParts::files_of(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::vector<std::filesystem::path> parts;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const std::size_t digits = name.find_first_not_of("0123456789");
    // Those of a writer that was killed among them.
    if (digits != 0 && digits != std::string::npos && name.substr(digits).starts_with(kEnding)) {
      parts.push_back(entry.path());
    }
  }
  return parts;
}

void BlockParts::discard(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) return;
  for (const auto& part : files_of(folder)) std::filesystem::remove(part, ignored);
  std::filesystem::remove(folder, ignored);
}

}  // namespace onebit::quant
