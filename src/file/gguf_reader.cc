// Reads GGUF: maps the file, then checks every count, length, offset and size against the bytes
// that are there before it is used, so that a damaged or hostile file gives an Error and no more.
#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "file/gguf.h"
#include "file/gguf_format.h"
#include "file/quote.h"

namespace onebit::file {
namespace {

using formats::DType;

/// The fewest bytes that one T takes in a file: the bound on how many of them can follow.
template <class T>
constexpr std::uint64_t min_bytes() {
  if constexpr (std::is_same_v<T, std::string>) {
    return sizeof(std::uint64_t);  // the length
  } else if constexpr (std::is_same_v<T, GgufValue>) {
    return sizeof(std::uint32_t) + sizeof(std::uint64_t);  // an array's element type and length
  } else {
    return sizeof(T);
  }
}

constexpr std::uint64_t kMinMetadataBytes = 8 + 4 + 1;    // key length, type, one byte of value
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, n_dims, type, offset

/// Walks the header. Every read is bounded; a failure names the file and the current object.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  /// What is being read, for messages.
  void enter(std::string object) { object_ = std::move(object); }

  [[noreturn]] void fail(const std::string& what, ErrorCode code = ErrorCode::kCorrupt) const {
    throw Error(code, fmt::format("{}: {}: {}", file_, object_, what));
  }

  std::uint64_t position() const noexcept { return position_; }
  std::uint64_t remaining() const noexcept { return bytes_.size() - position_; }

  const std::byte* take(std::uint64_t size, std::string_view what) {
    if (size > remaining()) {
      fail(fmt::format("{}: found {} bytes before the end of the file, expected {}", what,
                       remaining(), size));
    }
    const std::byte* data = bytes_.data() + position_;
    position_ += size;
    return data;
  }

  template <class T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what), sizeof value);
    return value;
  }

  std::string string(std::string_view what) {
    const auto length = number<std::uint64_t>(what);
    return {reinterpret_cast<const char*>(take(length, what)), static_cast<std::size_t>(length)};
  }

  /// A number of items of at least `bytes_each` bytes, all of which must still fit in the file: a
  /// lying count never leads to an allocation.
  std::size_t count(std::uint64_t bytes_each, std::string_view what) {
    const auto value = number<std::uint64_t>(what);
    if (value > remaining() / bytes_each) {
      fail(fmt::format("{}: found {}, expected at most {} in the {} bytes left", what, value,
                       remaining() / bytes_each, remaining()));
    }
    return static_cast<std::size_t>(value);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::string object_ = "header";
  std::uint64_t position_ = 0;
};

GgufArray read_array(Cursor& in, int depth);

template <class T>
T read_one(Cursor& in, int depth) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto byte = in.number<std::uint8_t>("bool");
    if (byte > 1) in.fail(fmt::format("bool: found {}, expected 0 or 1", byte));
    return byte == 1;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return in.string("string");
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    return read_array(in, depth);
  } else if constexpr (std::is_same_v<T, GgufValue>) {
    return GgufValue{read_array(in, depth)};
  } else {
    return in.number<T>(kGgufTypeNames[GgufAlternatives(T{}).index()]);
  }
}

template <class T>
void read_elements(Cursor& in, int depth, std::vector<T>& out) {
  const std::size_t count = in.count(min_bytes<T>(), "array length");
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    out.resize(count);
    const std::byte* data = in.take(count * sizeof(T), "array");
    if (count > 0) std::memcpy(out.data(), data, count * sizeof(T));
  } else {
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) out.push_back(read_one<T>(in, depth + 1));
  }
}

/// Calls action(std::integral_constant<std::size_t, type>) or fails on an unknown id.
template <class Action, std::size_t... I>
void with_type(Cursor& in, std::uint32_t type, Action&& action, std::index_sequence<I...>) {
  const bool known =
      ((type == I ? (action(std::integral_constant<std::size_t, I>()), true) : false) || ...);
  if (!known) {
    in.fail(fmt::format("value type: found {}, expected 0 to {}", type, kGgufTypes - 1));
  }
}

GgufArray read_array(Cursor& in, int depth) {
  if (depth > kGgufMaxArrayDepth) {
    in.fail(fmt::format("arrays nest deeper than the {} levels supported", kGgufMaxArrayDepth),
            ErrorCode::kUnsupported);
  }
  GgufArray array;
  const auto type = in.number<std::uint32_t>("array element type");
  with_type(
      in, type, [&](auto index) { read_elements(in, depth, array.emplace<index()>()); },
      std::make_index_sequence<kGgufTypes>());
  return array;
}

GgufValue read_value(Cursor& in) {
  GgufValue result;
  const auto type = in.number<std::uint32_t>("value type");
  with_type(
      in, type,
      [&](auto index) {
        using T = std::variant_alternative_t<index(), GgufAlternatives>;
        result.value.emplace<index()>(read_one<T>(in, 1));
      },
      std::make_index_sequence<kGgufTypes>());
  return result;
}

void check_version(Cursor& in, std::uint32_t version) {
  if (version == 2 || version == kGgufVersion) return;
  // The low half of a sane version number is never zero, so this one was written big endian.
  const bool swapped = version != 0 && (version & 0xFFFFU) == 0;
  in.fail(fmt::format("found GGUF version {}{}, expected 2 or 3, little endian",
                      swapped ? __builtin_bswap32(version) : version,
                      swapped ? " in big-endian byte order" : ""),
          ErrorCode::kUnsupported);
}

DType read_dtype(Cursor& in) {
  const auto id = in.number<std::uint32_t>("element type");
  const auto* entry = std::find_if(kGgmlTypes.begin(), kGgmlTypes.end(),
                                   [id](const auto& item) { return item.first == id; });
  if (entry == kGgmlTypes.end()) {
    std::string known;
    for (const auto& [known_id, type] : kGgmlTypes) {
      known += fmt::format(" {} ({})", known_id, formats::info(type).name);
    }
    in.fail(fmt::format("element type: found id {}, expected one of{}", id, known),
            ErrorCode::kUnsupported);
  }
  return entry->second;
}

/// A tensor as the header declares it; its bytes are found once all are known.
struct Declared {
  GgufTensor tensor;
  std::uint64_t offset = 0;  ///< from the beginning of the data
  std::uint64_t size = 0;
};

Declared read_tensor(Cursor& in, std::size_t index, std::size_t count) {
  in.enter(fmt::format("tensor {} of {}", index + 1, count));
  Declared result;
  result.tensor.name = in.string("name");
  in.enter(fmt::format("tensor {}", in_quotes(result.tensor.name)));
  const auto n_dims = in.number<std::uint32_t>("number of dimensions");
  if (n_dims > kGgufMaxDims) {
    in.fail(fmt::format("found {} dimensions, expected at most {}", n_dims, kGgufMaxDims));
  }
  formats::Shape& shape = result.tensor.view.shape;
  for (std::uint32_t i = 0; i < n_dims; ++i) {
    const auto dim = in.number<std::uint64_t>("dimension");
    if (dim == 0 || !std::in_range<std::int64_t>(dim)) {
      in.fail(fmt::format("dimension {}: found {}, expected 1 to 2^63-1", i, dim));
    }
    shape.push_back(static_cast<std::int64_t>(dim));
  }
  std::reverse(shape.begin(), shape.end());
  const DType dtype = read_dtype(in);
  result.tensor.view.dtype = dtype;
  const formats::DTypeInfo& type = formats::info(dtype);
  if (result.tensor.view.cols() % type.block_size != 0) {
    in.fail(fmt::format("innermost dimension: found {}, expected a multiple of {} for {}",
                        result.tensor.view.cols(), type.block_size, type.name));
  }
  const auto size = formats::byte_count(dtype, shape);
  if (!size) {
    in.fail(fmt::format("shape {} of {}: found a size that overflows, expected at most 2^64-1",
                        formats::to_string(shape), type.name));
  }
  result.size = *size;
  result.offset = in.number<std::uint64_t>("offset");
  return result;
}

/// Gives each tensor its bytes inside `data`.
void place_tensors(Cursor& in, std::vector<Declared>& tensors, std::span<const std::byte> data,
                   std::uint64_t alignment) {
  for (Declared& item : tensors) {
    in.enter(fmt::format("tensor {}", in_quotes(item.tensor.name)));
    if (item.offset % alignment != 0) {
      in.fail(fmt::format("offset: found {}, expected a multiple of {}", item.offset, alignment));
    }
    const auto end = checked_add(item.offset, item.size);
    if (!end || *end > data.size()) {
      in.fail(fmt::format("found {} bytes at offset {}, expected at most {} bytes of data",
                          item.size, item.offset, data.size()));
    }
    item.tensor.view.data =
        data.subspan(static_cast<std::size_t>(item.offset), static_cast<std::size_t>(item.size));
  }
  std::vector<const Declared*> order(tensors.size());
  std::transform(tensors.begin(), tensors.end(), order.begin(),
                 [](const Declared& item) { return &item; });
  std::sort(order.begin(), order.end(),
            [](const Declared* a, const Declared* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const Declared& before = *order[i - 1];
    if (before.offset + before.size > order[i]->offset) {
      in.enter(fmt::format("tensor {}", in_quotes(order[i]->tensor.name)));
      in.fail(fmt::format("offset: found {}, expected at least {}: it overlaps tensor {}",
                          order[i]->offset, before.offset + before.size,
                          in_quotes(before.tensor.name)));
    }
  }
}

}  // namespace

struct GgufFile::Impl {
  MappedFile file;  ///< empty when parsed from memory
  std::span<const std::byte> bytes;
  std::string name;
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<GgufTensor> tensors;
  std::unordered_map<std::string_view, std::size_t> keys;          ///< into metadata
  std::unordered_map<std::string_view, std::size_t> tensor_names;  ///< into tensors

  void parse();
  void read_metadata(Cursor& in, std::size_t count);
  std::uint64_t alignment(Cursor& in) const;
  [[noreturn]] void fail_key(std::string_view key, const std::string& what) const;

  /// The value of type T, null when the key is absent; an Error when it has another type.
  template <class T>
  const T* get(std::string_view key, std::string_view expected) const;
  template <class T>
  const std::vector<T>* get_array(std::string_view key, std::string_view expected) const;
};

void GgufFile::Impl::parse() {
  Cursor in(bytes, name);
  const std::string_view magic(reinterpret_cast<const char*>(bytes.data()),
                               std::min(bytes.size(), kGgufMagic.size()));
  if (magic != kGgufMagic) {
    in.fail(fmt::format("magic number: found {}, expected '{}'", in_quotes(magic), kGgufMagic));
  }
  in.take(kGgufMagic.size(), "magic number");
  check_version(in, in.number<std::uint32_t>("version"));
  const auto n_tensors = in.count(kMinTensorBytes, "number of tensors");
  const auto n_metadata = in.count(kMinMetadataBytes, "number of metadata entries");
  read_metadata(in, n_metadata);

  std::vector<Declared> declared;
  declared.reserve(n_tensors);
  for (std::size_t i = 0; i < n_tensors; ++i) declared.push_back(read_tensor(in, i, n_tensors));

  in.enter("header");
  const std::uint64_t align = alignment(in);
  // No overflow: a position in memory and an alignment below 2^32.
  const std::uint64_t data_begin = (in.position() + align - 1) / align * align;
  // A file without tensors may end right behind its header.
  const auto data =
      bytes.subspan(static_cast<std::size_t>(std::min<std::uint64_t>(data_begin, bytes.size())));
  place_tensors(in, declared, data, align);

  tensors.reserve(declared.size());
  for (Declared& item : declared) tensors.push_back(std::move(item.tensor));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!tensor_names.emplace(tensors[i].name, i).second) {
      in.enter(fmt::format("tensor {}", in_quotes(tensors[i].name)));
      in.fail("found the name twice, expected it once");
    }
  }
}

void GgufFile::Impl::read_metadata(Cursor& in, std::size_t count) {
  metadata.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    in.enter(fmt::format("metadata entry {} of {}", i + 1, count));
    std::string key = in.string("key");
    in.enter(fmt::format("metadata {}", in_quotes(key)));
    metadata.emplace_back(std::move(key), read_value(in));
  }
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    if (!keys.emplace(metadata[i].first, i).second) {
      fail_key(metadata[i].first, "found the key twice, expected it once");
    }
  }
}

std::uint64_t GgufFile::Impl::alignment(Cursor& in) const {
  const auto* value = get<std::uint32_t>(kGgufAlignmentKey, "u32");
  if (value == nullptr) return kGgufDefaultAlignment;
  if (!std::has_single_bit(*value)) {
    in.enter(fmt::format("metadata '{}'", kGgufAlignmentKey));
    in.fail(fmt::format("found {}, expected a power of two", *value));
  }
  return *value;
}

void GgufFile::Impl::fail_key(std::string_view key, const std::string& what) const {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: metadata {}: {}", name, in_quotes(key), what));
}

namespace {

std::string type_name(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    return fmt::format("array of {}", kGgufTypeNames[array->index()]);
  }
  return std::string(kGgufTypeNames[value.value.index()]);
}

template <class T>
constexpr bool kIsInteger = std::integral<T> && !std::is_same_v<T, bool>;

template <class T>
bool fits_int64(T value) {
  return std::in_range<std::int64_t>(value);
}

}  // namespace

template <class T>
const T* GgufFile::Impl::get(std::string_view key, std::string_view expected) const {
  const auto entry = keys.find(key);
  if (entry == keys.end()) return nullptr;
  const GgufValue& value = metadata[entry->second].second;
  const T* result = std::get_if<T>(&value.value);
  if (result == nullptr) {
    fail_key(key, fmt::format("found {}, expected {}", type_name(value), expected));
  }
  return result;
}

template <class T>
const std::vector<T>* GgufFile::Impl::get_array(std::string_view key,
                                                std::string_view expected) const {
  const auto* array = get<GgufArray>(key, expected);
  if (array == nullptr) return nullptr;
  const auto* result = std::get_if<std::vector<T>>(array);
  if (result == nullptr) {
    fail_key(key, fmt::format("found array of {}, expected {}", kGgufTypeNames[array->index()],
                              expected));
  }
  return result;
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

GgufFile GgufFile::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->file = MappedFile::open(path);
  impl->bytes = impl->file.bytes();
  impl->name = path.string();
  impl->parse();
  return GgufFile(std::move(impl));
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
  auto impl = std::make_unique<Impl>();
  impl->bytes = bytes;
  impl->name = std::move(name);
  impl->parse();
  return GgufFile(std::move(impl));
}

const std::vector<std::pair<std::string, GgufValue>>& GgufFile::metadata() const noexcept {
  return impl_->metadata;
}

const std::vector<GgufTensor>& GgufFile::tensors() const noexcept { return impl_->tensors; }

const GgufValue* GgufFile::find(std::string_view key) const noexcept {
  const auto entry = impl_->keys.find(key);
  return entry == impl_->keys.end() ? nullptr : &impl_->metadata[entry->second].second;
}

const GgufTensor* GgufFile::find_tensor(std::string_view tensor) const noexcept {
  const auto entry = impl_->tensor_names.find(tensor);
  return entry == impl_->tensor_names.end() ? nullptr : &impl_->tensors[entry->second];
}

std::optional<std::int64_t> GgufFile::get_int(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  return std::visit(
      [&](const auto& v) -> std::int64_t {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsInteger<T>) {
          if (!fits_int64(v)) {
            impl_->fail_key(key, fmt::format("found {}, expected at most 2^63-1", v));
          }
          return static_cast<std::int64_t>(v);
        } else {
          impl_->fail_key(key, fmt::format("found {}, expected an integer", type_name(*value)));
        }
      },
      value->value);
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* single = std::get_if<float>(&value->value)) return *single;
  return *impl_->get<double>(key, "f32 or f64");
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
  const auto* value = impl_->get<bool>(key, "bool");
  if (value == nullptr) return std::nullopt;
  return *value;
}

std::optional<std::string> GgufFile::get_string(std::string_view key) const {
  const auto* value = impl_->get<std::string>(key, "string");
  if (value == nullptr) return std::nullopt;
  return *value;
}

const std::vector<std::string>* GgufFile::get_strings(std::string_view key) const {
  return impl_->get_array<std::string>(key, "array of string");
}

std::optional<std::vector<std::int64_t>> GgufFile::get_ints(std::string_view key) const {
  constexpr std::string_view kExpected = "array of integers";
  const auto* array = impl_->get<GgufArray>(key, kExpected);
  if (array == nullptr) return std::nullopt;
  std::vector<std::int64_t> result;
  std::visit(
      [&](const auto& elements) {
        using T = typename std::decay_t<decltype(elements)>::value_type;
        if constexpr (kIsInteger<T>) {
          result.reserve(elements.size());
          for (const T element : elements) {
            if (!fits_int64(element)) {
              impl_->fail_key(key, fmt::format("element {}: found {}, expected at most 2^63-1",
                                               result.size(), element));
            }
            result.push_back(static_cast<std::int64_t>(element));
          }
        } else {
          impl_->fail_key(key, fmt::format("found array of {}, expected {}",
                                           kGgufTypeNames[array->index()], kExpected));
        }
      },
      *array);
  return result;
}

const std::vector<float>* GgufFile::get_floats(std::string_view key) const {
  return impl_->get_array<float>(key, "array of f32");
}

std::int64_t GgufFile::require_int(std::string_view key) const {
  const auto value = get_int(key);
  if (!value) impl_->fail_key(key, "not found, expected an integer");
  return *value;
}

std::string GgufFile::require_string(std::string_view key) const {
  auto value = get_string(key);
  if (!value) impl_->fail_key(key, "not found, expected a string");
  return *std::move(value);
}

std::span<const std::byte> GgufFile::bytes() const noexcept { return impl_->bytes; }

const std::string& GgufFile::name() const noexcept { return impl_->name; }

void GgufFile::release(const formats::TensorView& view) const noexcept {
  impl_->file.release(static_cast<std::size_t>(view.data.data() - impl_->bytes.data()),
                      view.data.size());
}

bool is_gguf(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;  // opening a pipe may block
  std::ifstream in(path, std::ios::binary);
  char magic[kGgufMagic.size()] = {};
  in.read(magic, sizeof magic);
  return in && std::string_view(magic, sizeof magic) == kGgufMagic;
}

}  // namespace onebit::file
