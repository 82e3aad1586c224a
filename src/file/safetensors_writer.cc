// Writes one safetensors file, one tensor at a time: memory holds the header, never the weights.
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/error.h"
#include "file/quote.h"
#include "file/safetensors.h"
#include "file/safetensors_format.h"

namespace onebit::file {
namespace {

/// The header's length is made a multiple of this, so that data of any type begins aligned.
constexpr std::size_t kDataAlignment = 8;

}  // namespace

struct SafetensorsWriter::Impl {
  struct Tensor {
    std::string name;
    std::uint64_t size;
  };

  explicit Impl(const std::filesystem::path& destination)
      : path(destination.string()), file(destination) {}

  [[noreturn]] void fail(std::string_view name, const std::string& what) const {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: {}: {}", path, in_quotes(name), what));
  }

  /// As a JSON string.
  std::string json(std::string_view text) const {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::type_error&) {
      fail(text, "found bytes that are no UTF-8");
    }
  }

  void write_header();

  std::string path;
  AtomicFile file;
  std::map<std::string, std::string> metadata;  ///< JSON strings
  std::string entries;                          ///< the header's part for the tensors
  std::vector<Tensor> tensors;
  std::unordered_set<std::string> names;
  std::uint64_t data_size = 0;
  bool header_written = false;
  std::size_t next = 0;  ///< the tensor that write() expects
};

void SafetensorsWriter::Impl::write_header() {
  std::string header = "{";
  if (!metadata.empty()) {
    header += fmt::format("\"{}\":{{", kSafetensorsMetadata);
    for (const auto& [key, value] : metadata) header += fmt::format("{}:{},", key, value);
    header.back() = '}';
    header += ',';
  }
  header += entries;
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.resize((header.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  if (header.size() > kSafetensorsMaxHeader) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: header: found {} bytes, expected at most {}", path, header.size(),
                            kSafetensorsMaxHeader));
  }
  const std::uint64_t length = header.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  header_written = true;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path)
    : impl_(std::make_unique<Impl>(path)) {}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::set_metadata(std::string_view key, std::string_view value) {
  ONEBIT_CHECK(!impl_->header_written);
  impl_->metadata[impl_->json(key)] = impl_->json(value);
}

void SafetensorsWriter::declare(std::string_view name, formats::DType dtype,
                                const formats::Shape& shape) {
  ONEBIT_CHECK(!impl_->header_written);
  const auto* type = std::find_if(kSafetensorsTypes.begin(), kSafetensorsTypes.end(),
                                  [dtype](const auto& item) { return item.dtype == dtype; });
  if (type == kSafetensorsTypes.end()) {
    impl_->fail(name, fmt::format("found element type {}, expected one that safetensors has",
                                  formats::info(dtype).name));
  }
  const auto size = formats::byte_count(dtype, shape);
  const auto end = size ? checked_add(impl_->data_size, *size) : std::nullopt;
  if (!end) {
    impl_->fail(name, fmt::format("found shape {}, expected dimensions of at least 0 and a size "
                                  "below 2^64",
                                  formats::to_string(shape)));
  }
  if (name == kSafetensorsMetadata) impl_->fail(name, "the name is reserved");
  const std::string quoted_name = impl_->json(name);
  if (!impl_->names.emplace(name).second) impl_->fail(name, "declared twice, expected once");
  impl_->entries +=
      fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}},", quoted_name,
                  type->name, fmt::join(shape, ","), impl_->data_size, *end);
  impl_->tensors.push_back({std::string(name), *size});
  impl_->data_size = *end;
}

void SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (!impl_->header_written) impl_->write_header();
  ONEBIT_CHECK(impl_->next < impl_->tensors.size());
  const Impl::Tensor& tensor = impl_->tensors[impl_->next];
  ONEBIT_CHECK(tensor.name == name);
  ONEBIT_CHECK(tensor.size == bytes.size());
  impl_->file.write(bytes);
  ++impl_->next;
}

void SafetensorsWriter::finish() {
  if (!impl_->header_written) impl_->write_header();
  ONEBIT_CHECK(impl_->next == impl_->tensors.size());
  impl_->file.commit();
}

}  // namespace onebit::file
