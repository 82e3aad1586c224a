// Reads safetensors. The JSON header is taken event by event, never as a document: nothing nests
// deeper than the format allows, duplicate names are seen, and memory follows the header's size.
#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "file/quote.h"
#include "file/safetensors.h"
#include "file/safetensors_format.h"

namespace onebit::file {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kSupported = "F64 F32 F16 BF16 I64 I32 I16 I8";

[[noreturn]] void fail(const std::string& file, const std::string& object,
                       const std::string& what) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}: {}", file, object, what));
}

/// A tensor as the header declares it.
struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<std::uint64_t>> shape;
  std::optional<std::vector<std::uint64_t>> offsets;
  std::uint64_t begin = 0;  ///< the two of offsets
  std::uint64_t end = 0;
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;
};

/// Accepts exactly the header's grammar; anything else is an Error naming the place.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(const std::string& file, Header& header) : file_(file), header_(header) {}

  bool start_object(std::size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop && name_ == kSafetensorsMetadata) {
      if (std::exchange(metadata_seen_, true)) wrong("found it twice, expected it once");
      place_ = Place::kMetadata;
    } else if (place_ == Place::kTop) {
      header_.entries.emplace_back().name = name_;
      place_ = Place::kTensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(string_t& text) override {
    (place_ == Place::kTop ? name_ : field_) = text;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      Entry& entry = header_.entries.back();
      if (!entry.dtype || !entry.shape || !entry.offsets) {
        wrong("expected dtype, shape and data_offsets, found not all of them");
      }
      entry.begin = entry.offsets->front();
      entry.end = entry.offsets->back();
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor) unexpected("an array");
    Entry& entry = header_.entries.back();
    if (field_ != "shape" && field_ != "data_offsets") unexpected("an array");
    auto& numbers = field_ == "shape" ? entry.shape : entry.offsets;
    if (numbers) wrong(fmt::format("found {} twice, expected it once", field_));
    numbers_ = &numbers.emplace();
    place_ = Place::kNumbers;
    return true;
  }

  bool end_array() override {
    if (field_ == "data_offsets" && numbers_->size() != 2) {
      wrong(fmt::format("data_offsets: found {} numbers, expected 2", numbers_->size()));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kNumbers) unexpected("a number");
    numbers_->push_back(value);
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) {
      if (!header_.metadata.emplace(field_, text).second) {
        wrong(fmt::format("found {} twice, expected it once", in_quotes(field_)));
      }
    } else if (place_ == Place::kTensor && field_ == "dtype") {
      auto& dtype = header_.entries.back().dtype;
      if (dtype) wrong("found dtype twice, expected it once");
      dtype = text;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    unexpected("a number that is no 64-bit unsigned integer");
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    fail(file_, "header", fmt::format("found no valid JSON at byte {} of it", position));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kNumbers, kEnd };

  [[noreturn]] void wrong(const std::string& what) const {
    fail(file_, name_.empty() ? "header" : fmt::format("header entry {}", in_quotes(name_)), what);
  }

  [[noreturn]] void unexpected(std::string_view found) const {
    switch (place_) {
      case Place::kStart:
        wrong(fmt::format("found {}, expected an object", found));
      case Place::kMetadata:
        wrong(fmt::format("found {}, expected strings", found));
      case Place::kTensor:
        wrong(
            fmt::format("found {} as {}, expected dtype (a string), shape and data_offsets "
                        "(arrays of unsigned integers)",
                        found, in_quotes(field_)));
      case Place::kNumbers:
        wrong(fmt::format("{}: found {}, expected unsigned integers", field_, found));
      default:
        wrong(fmt::format("found {}, expected an object for each tensor", found));
    }
  }

  const std::string& file_;
  Header& header_;
  Place place_ = Place::kStart;
  std::string name_;   ///< of the tensor, or __metadata__
  std::string field_;  ///< key inside it
  std::vector<std::uint64_t>* numbers_ = nullptr;
  bool metadata_seen_ = false;
};

std::string tensor_object(const Entry& entry) {
  return fmt::format("tensor {}", in_quotes(entry.name));
}

/// The entry's shape, its product checked.
formats::Shape checked_shape(const std::string& file, const Entry& entry) {
  formats::Shape shape;
  for (const std::uint64_t dim : *entry.shape) {
    if (!std::in_range<std::int64_t>(dim)) {
      fail(file, tensor_object(entry),
           fmt::format("dimension: found {}, expected at most 2^63-1", dim));
    }
    shape.push_back(static_cast<std::int64_t>(dim));
  }
  return shape;
}

/// Size in bytes against data_offsets, for the types whose size is known.
void check_size(const std::string& file, const Entry& entry, const formats::Shape& shape,
                const SafetensorsType& type) {
  const auto count = formats::element_count(shape);
  const auto bits = count ? checked_mul(*count, type.bits) : std::nullopt;
  if (!bits) {
    fail(file, tensor_object(entry),
         fmt::format("shape {}: found a size that overflows", formats::to_string(shape)));
  }
  const std::uint64_t size = entry.end - entry.begin;
  if (*bits % 8 != 0 || *bits / 8 != size) {
    fail(file, tensor_object(entry),
         fmt::format("data_offsets: found {} bytes, expected {} bits for {} {}", size, *bits,
                     type.name, formats::to_string(shape)));
  }
}

/// Sorts by position; every byte of data must belong to exactly one tensor.
void check_layout(const std::string& file, std::vector<Entry>& entries, std::uint64_t data_size) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t position = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != position || entry.end < entry.begin) {
      fail(file, tensor_object(entry),
           fmt::format("data_offsets: found [{}, {}], expected to begin at {}, without hole or "
                       "overlap",
                       entry.begin, entry.end, position));
    }
    if (entry.end > data_size) {
      fail(file, tensor_object(entry),
           fmt::format("data_offsets: found [{}, {}], expected an end within the {} bytes of data",
                       entry.begin, entry.end, data_size));
    }
    position = entry.end;
  }
  if (position != data_size) {
    fail(file, "data",
         fmt::format("found {} bytes, expected {} as the header says", data_size, position));
  }
}

}  // namespace

struct SafetensorsFile::Impl {
  MappedFile file;  ///< empty when parsed from memory
  std::span<const std::byte> bytes;
  std::string name;
  std::map<std::string, std::string> metadata;
  std::vector<SafeTensor> tensors;
  std::unordered_map<std::string_view, std::size_t> names;      ///< into tensors
  std::map<std::string, std::string, std::less<>> unsupported;  ///< name to element type

  void parse();
};

void SafetensorsFile::Impl::parse() {
  constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);
  if (bytes.size() < kLengthBytes) {
    fail(name, "header length",
         fmt::format("found a file of {} bytes, expected at least {}", bytes.size(), kLengthBytes));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const std::uint64_t room =
      std::min<std::uint64_t>(kSafetensorsMaxHeader, bytes.size() - kLengthBytes);
  if (length > room) {
    fail(name, "header length", fmt::format("found {}, expected at most {}", length, room));
  }
  const char* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  const auto data = bytes.subspan(kLengthBytes + static_cast<std::size_t>(length));
  if (length == 0 || *text != '{') {
    fail(name, "header",
         fmt::format("found {}, expected '{{' first",
                     in_quotes(std::string_view(text, length > 0 ? 1 : 0))));
  }
  // The JSON lexer takes a zero byte for the end of its input and would ignore what follows.
  if (const void* zero = std::memchr(text, 0, static_cast<std::size_t>(length))) {
    fail(name, "header",
         fmt::format("found a zero byte at byte {} of it, expected JSON",
                     static_cast<const char*>(zero) - text + 1));
  }
  Header header;
  HeaderReader reader(name, header);
  Json::sax_parse(text, text + length, &reader);

  check_layout(name, header.entries, data.size());
  metadata = std::move(header.metadata);
  tensors.reserve(header.entries.size());
  for (Entry& entry : header.entries) {
    const auto* type = std::find_if(kSafetensorsTypes.begin(), kSafetensorsTypes.end(),
                                    [&](const auto& item) { return item.name == *entry.dtype; });
    formats::Shape shape = checked_shape(name, entry);
    const bool known = type != kSafetensorsTypes.end();
    if (known) check_size(name, entry, shape, *type);
    if (known && type->dtype) {
      const auto begin = static_cast<std::size_t>(entry.begin);
      const auto end = static_cast<std::size_t>(entry.end);
      tensors.push_back({std::move(entry.name),
                         {*type->dtype, std::move(shape), data.subspan(begin, end - begin)}});
    } else if (!unsupported.emplace(entry.name, *entry.dtype).second) {
      fail(name, tensor_object(entry), "found the name twice, expected it once");
    }
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!names.emplace(tensors[i].name, i).second || unsupported.contains(tensors[i].name)) {
      fail(name, fmt::format("tensor {}", in_quotes(tensors[i].name)),
           "found the name twice, expected it once");
    }
  }
}

SafetensorsFile::SafetensorsFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->file = MappedFile::open(path);
  impl->bytes = impl->file.bytes();
  impl->name = path.string();
  impl->parse();
  return SafetensorsFile(std::move(impl));
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string name) {
  auto impl = std::make_unique<Impl>();
  impl->bytes = bytes;
  impl->name = std::move(name);
  impl->parse();
  return SafetensorsFile(std::move(impl));
}

const std::vector<SafeTensor>& SafetensorsFile::tensors() const noexcept { return impl_->tensors; }

const SafeTensor* SafetensorsFile::find(std::string_view tensor) const {
  const auto entry = impl_->names.find(tensor);
  if (entry != impl_->names.end()) return &impl_->tensors[entry->second];
  const auto other = impl_->unsupported.find(tensor);
  if (other != impl_->unsupported.end()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: tensor {}: element type: found {}, expected one of {}",
                            impl_->name, in_quotes(tensor), in_quotes(other->second), kSupported));
  }
  return nullptr;
}

bool SafetensorsFile::contains(std::string_view tensor) const noexcept {
  return impl_->names.contains(tensor) || impl_->unsupported.contains(tensor);
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept {
  return impl_->metadata;
}

std::span<const std::byte> SafetensorsFile::bytes() const noexcept { return impl_->bytes; }

void SafetensorsFile::release(const formats::TensorView& view) const noexcept {
  impl_->file.release(static_cast<std::size_t>(view.data.data() - impl_->bytes.data()),
                      view.data.size());
}

}  // namespace onebit::file
