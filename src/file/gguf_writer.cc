// Writes GGUF version 3, one tensor at a time: memory holds the header, never the weights.
#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <type_traits>
#include <unordered_set>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/error.h"
#include "file/gguf.h"
#include "file/gguf_format.h"
#include "file/quote.h"

namespace onebit::file {
namespace {

constexpr std::size_t kMaxKeyBytes = 65535;  // the format's limit
constexpr std::size_t kMaxNameBytes = 63;    // ggml: 64 with the terminator
constexpr std::uint32_t kMinAlignment = 8;   // the format asks for a multiple of 8

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_arithmetic_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_string(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

void put_array(std::string& out, const GgufArray& array, int depth);

template <class T>
void put_one(std::string& out, const T& value, int depth) {
  if constexpr (std::is_same_v<T, bool>) {
    put<std::uint8_t>(out, value ? 1 : 0);
  } else if constexpr (std::is_same_v<T, std::string>) {
    put_string(out, value);
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    put_array(out, value, depth);
  } else if constexpr (std::is_same_v<T, GgufValue>) {
    const auto* array = std::get_if<GgufArray>(&value.value);
    ONEBIT_CHECK(array != nullptr);  // GgufArray's contract: only nested arrays are GgufValue
    put_array(out, *array, depth);
  } else {
    put(out, value);
  }
}

void put_array(std::string& out, const GgufArray& array, int depth) {
  ONEBIT_CHECK(depth <= kGgufMaxArrayDepth);
  put(out, static_cast<std::uint32_t>(array.index()));
  std::visit(
      [&](const auto& elements) {
        using T = typename std::decay_t<decltype(elements)>::value_type;
        put<std::uint64_t>(out, elements.size());
        for (const T& element : elements) put_one<T>(out, element, depth + 1);
      },
      array);
}

void put_value(std::string& out, const GgufValue& value) {
  put(out, static_cast<std::uint32_t>(value.value.index()));
  std::visit([&](const auto& v) { put_one(out, v, 1); }, value.value);
}

std::uint32_t ggml_type(formats::DType dtype) {
  const auto* entry = std::find_if(kGgmlTypes.begin(), kGgmlTypes.end(),
                                   [dtype](const auto& item) { return item.second == dtype; });
  ONEBIT_CHECK(entry != kGgmlTypes.end());
  return entry->first;
}

}  // namespace

struct GgufWriter::Impl {
  struct Tensor {
    std::string name;
    formats::DType dtype;
    formats::Shape shape;
    std::uint64_t size;
  };

  explicit Impl(const std::filesystem::path& destination)
      : path(destination.string()), file(destination) {}

  [[noreturn]] void fail(const std::string& object, const std::string& what) const {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: {}: {}", path, object, what));
  }

  void write_header();
  void pad();

  std::string path;
  AtomicFile file;
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<Tensor> tensors;
  std::unordered_set<std::string> names;
  std::uint64_t alignment = kGgufDefaultAlignment;
  bool alignment_given = false;
  bool header_written = false;
  std::uint64_t file_bytes = 0;  ///< known with the header
  std::size_t next = 0;          ///< the tensor that write() expects
};

void GgufWriter::Impl::pad() {
  const std::uint64_t excess = file.position() % alignment;
  if (excess != 0) file.write(std::string(static_cast<std::size_t>(alignment - excess), '\0'));
}

void GgufWriter::Impl::write_header() {
  if (!alignment_given) metadata.emplace_back(kGgufAlignmentKey, GgufValue{kGgufDefaultAlignment});
  std::string out(kGgufMagic);
  put(out, kGgufVersion);
  put<std::uint64_t>(out, tensors.size());
  put<std::uint64_t>(out, metadata.size());
  for (const auto& [key, value] : metadata) {
    put_string(out, key);
    put_value(out, value);
  }
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    put_string(out, tensor.name);
    put(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) {
      put(out, static_cast<std::uint64_t>(*dim));
    }
    put(out, ggml_type(tensor.dtype));
    put(out, offset);
    const auto end = checked_add(offset, tensor.size);
    const auto padded = end ? checked_add(*end, alignment - 1) : std::nullopt;
    if (!padded)
      fail(fmt::format("tensor {}", in_quotes(tensor.name)), "the file's size overflows");
    offset = *padded / alignment * alignment;
  }
  file.write(out);
  pad();
  file_bytes = file.position() + offset;
  header_written = true;
}

GgufWriter::GgufWriter(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}

GgufWriter::~GgufWriter() = default;

void GgufWriter::set(std::string_view key, GgufValue value) {
  ONEBIT_CHECK(!impl_->header_written);
  const auto object = [&] { return fmt::format("metadata {}", in_quotes(key)); };
  if (key.size() > kMaxKeyBytes) {
    impl_->fail(object(), fmt::format("found a key of {} bytes, expected at most {}", key.size(),
                                      kMaxKeyBytes));
  }
  if (key == kGgufAlignmentKey) {
    const auto* alignment = std::get_if<std::uint32_t>(&value.value);
    if (alignment == nullptr || !std::has_single_bit(*alignment) || *alignment < kMinAlignment) {
      impl_->fail(object(),
                  fmt::format("found {}, expected a u32 power of two from {}",
                              alignment == nullptr ? "another type" : std::to_string(*alignment),
                              kMinAlignment));
    }
    impl_->alignment = *alignment;
    impl_->alignment_given = true;
  }
  auto& metadata = impl_->metadata;
  const auto entry = std::find_if(metadata.begin(), metadata.end(),
                                  [key](const auto& item) { return item.first == key; });
  if (entry != metadata.end()) {
    entry->second = std::move(value);
  } else {
    metadata.emplace_back(key, std::move(value));
  }
}

void GgufWriter::declare(std::string_view name, formats::DType dtype, const formats::Shape& shape) {
  ONEBIT_CHECK(!impl_->header_written);
  const formats::DTypeInfo& type = formats::info(dtype);
  const auto fail = [&](const std::string& what) {
    impl_->fail(fmt::format("tensor {}", in_quotes(name)), what);
  };
  if (name.size() > kMaxNameBytes) {
    fail(fmt::format("found a name of {} bytes, expected at most {}", name.size(), kMaxNameBytes));
  }
  if (shape.size() > kGgufMaxDims) {
    fail(fmt::format("found {} dimensions, expected at most {}", shape.size(), kGgufMaxDims));
  }
  if (std::any_of(shape.begin(), shape.end(), [](std::int64_t dim) { return dim < 1; })) {
    fail(fmt::format("found shape {}, expected dimensions of at least 1",
                     formats::to_string(shape)));
  }
  const auto size = formats::byte_count(dtype, shape);
  if (!size) {
    fail(
        fmt::format("found shape {}, expected a last dimension in whole blocks of {} for {} and a "
                    "size below 2^64",
                    formats::to_string(shape), type.block_size, type.name));
  }
  if (!impl_->names.emplace(name).second) fail("found the name twice, expected it once");
  impl_->tensors.push_back({std::string(name), dtype, shape, *size});
}

void GgufWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (!impl_->header_written) impl_->write_header();
  ONEBIT_CHECK(impl_->next < impl_->tensors.size());
  const Impl::Tensor& tensor = impl_->tensors[impl_->next];
  ONEBIT_CHECK(tensor.name == name);
  ONEBIT_CHECK(tensor.size == bytes.size());
  impl_->file.write(bytes);
  impl_->pad();
  ++impl_->next;
}

std::uint64_t GgufWriter::file_bytes() {
  if (!impl_->header_written) impl_->write_header();
  return impl_->file_bytes;
}

void GgufWriter::finish() {
  if (!impl_->header_written) impl_->write_header();
  ONEBIT_CHECK(impl_->next == impl_->tensors.size());
  impl_->file.commit();
}

}  // namespace onebit::file
