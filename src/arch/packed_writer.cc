// Packed files: declares every tensor from the source's configuration, then streams them.
#include "arch/packed_writer.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <utility>

#include "arch/checkpoint_impl.h"
#include "arch/gguf_config.h"
#include "arch/packed_format.h"
#include "base/check.h"
#include "base/error.h"
#include "file/gguf.h"
#include "formats/dequantize.h"

namespace onebit::arch {
namespace {

using formats::DType;

/// The largest magnitude that a type stores as a finite value.
float storable_max(DType type) {
  constexpr float kF16Overflow = 65520.0F;  // rounds to infinity, as anything above
  const float below = std::nextafter(kF16Overflow, 0.0F);
  if (type == DType::kF16) return below;
  if (type == DType::kQ8_0) return below * 127.0F;  // its scale, max|w| / 127, is a binary16
  if (type == DType::kQ4_0) return below * 8.0F;    // likewise, max|w| / 8
  if (type == DType::kBF16) return 3.3895313892515355e38F;
  return std::numeric_limits<float>::max();
}

void check_values(std::span<const float> values, DType type, const std::string& name) {
  const float max = storable_max(type);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(std::abs(values[i]) <= max)) {
      throw Error(ErrorCode::kNumeric,
                  fmt::format("tensor {}: element {}: found {}, expected a finite number that {} "
                              "can hold",
                              name, i, values[i], formats::info(type).name));
    }
  }
}

/// See add_one_bit().
void check_scale(std::span<const float> values, DType type, const std::string& name) {
  constexpr float kSmallestNormalF16 = 0x1p-14F;
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  if (type != DType::kF16 || largest == 0 || largest >= kSmallestNormalF16) return;
  throw Error(
      ErrorCode::kNumeric,
      fmt::format("tensor {}: found {} as the largest scale, expected at least 2^-14, which "
                  "f16 holds with full precision; choose f32",
                  name, largest));
}

}  // namespace

std::map<TensorId, DType> all_linear(const ModelConfig& config, DType type) {
  std::map<TensorId, DType> result;
  for (const TensorId& id : tensor_ids(config)) {
    if (find_tensor(*config.arch, id.role)->linear) result.emplace(id, type);
  }
  return result;
}

Provenance provenance_of(const Checkpoint& source, std::string method, Form form,
                         std::int64_t group_size) {
  return {std::move(method),        form,      source.name(), source.sha256(),
          "onebit " ONEBIT_VERSION, group_size};
}

struct PackedWriter::Impl {
  Impl(const std::filesystem::path& out, const Checkpoint& source, PackOptions pack_options)
      : config(source.config()),
        options(std::move(pack_options)),
        order(tensor_ids(config)),
        factors(rope_factors(config)),
        writer(out) {
    require_group_size(options.provenance.form, options.provenance.group_size);
    for (auto& [key, value] : source.impl().metadata()) writer.set(key, std::move(value));
    set_provenance();
    if (!factors.empty()) {
      writer.declare(kRopeFactorsTensor, DType::kF32, {std::ssize(factors)});
    }
    for (const TensorId& id : order) declare(id);
    if (!factors.empty()) writer.write(kRopeFactorsTensor, std::as_bytes(std::span(factors)));
  }

  const TensorSpec& spec(const TensorId& id) const { return *find_tensor(*config.arch, id.role); }

  bool is_one_bit(const TensorId& id) const {
    return spec(id).linear && !options.dense.contains(id);
  }

  bool folded() const { return options.provenance.form == Form::kFoldable; }

  DType dense_type(const TensorId& id) const {
    if (const auto it = options.dense.find(id); it != options.dense.end()) return it->second;
    if (id.role == Role::kTokenEmbedding) return options.embedding;
    if (id.role == Role::kOutput) return options.head;
    return DType::kF32;
  }

  void set_provenance() {
    const Provenance& p = options.provenance;
    const auto set = [this](std::string_view key, std::string_view value) {
      writer.set(key, file::GgufValue{std::string(value)});
    };
    writer.set(kPackedVersionKey, file::GgufValue{kPackedVersion});
    set(kPackedMethodKey, p.method);
    set(kPackedSourceNameKey, p.source_name);
    set(kPackedSourceHashKey, p.source_sha256);
    set(kPackedProgramKey, p.program);
    if (std::any_of(order.begin(), order.end(),
                    [this](const auto& id) { return is_one_bit(id); })) {
      set(kPackedFormKey, word_of(p.form));
      if (p.group_size > 0) {
        writer.set(kPackedGroupKey, file::GgufValue{static_cast<std::uint32_t>(p.group_size)});
      }
      set(kPackedLayoutKey, formats::kSign1Layout);
    }
  }

  void declare(const TensorId& id) {
    const std::string base = gguf_name(spec(id), id.layer);
    const formats::Shape shape = shape_of(config, spec(id));
    if (is_one_bit(id)) {
      if (options.scales != DType::kF16 && options.scales != DType::kF32) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("scales: found type {}, expected f16 or f32",
                                formats::info(options.scales).name));
      }
      writer.declare(base + std::string(kSignSuffix), DType::kI8,
                     {shape[0], formats::sign1_row_bytes(shape[1])});
      if (!folded()) writer.declare(base + std::string(kInScaleSuffix), options.scales, {shape[1]});
      formats::Shape out = {shape[0]};
      const std::int64_t group_size = options.provenance.group_size;
      if (group_size > 0) out.push_back(group_count(shape[1], group_size));
      writer.declare(base + std::string(kOutScaleSuffix), options.scales, out);
      return;
    }
    const std::string name = base + std::string(kWeightSuffix);
    const DType type = dense_type(id);
    if (!formats::can_quantize(type)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("tensor {}: found type {}, expected f32, f16, bf16, q8_0 or q4_0",
                              name, formats::info(type).name));
    }
    if (!formats::byte_count(type, shape)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("tensor {}: found rows of {} values, expected a multiple of {} for "
                              "type {}; choose f16",
                              name, shape.back(), formats::info(type).block_size,
                              formats::info(type).name));
    }
    writer.declare(name, type, shape);
  }

  void take(const TensorId& id, bool one_bit) {
    ONEBIT_CHECK(next < order.size() && order[next] == id);
    ONEBIT_CHECK(is_one_bit(id) == one_bit);
    ++next;
  }

  void write_values(const std::string& name, DType type, std::span<const float> values) {
    check_values(values, type, name);
    const auto bytes = formats::byte_count(type, {std::ssize(values)});
    ONEBIT_CHECK(bytes.has_value());
    buffer.resize(*bytes);
    formats::quantize(type, values, buffer);
    writer.write(name, buffer);
  }

  void write_scale(const std::string& name, std::span<const float> values) {
    check_scale(values, options.scales, name);
    write_values(name, options.scales, values);
  }

  ModelConfig config;
  PackOptions options;
  std::vector<TensorId> order;
  std::vector<float> factors;
  file::GgufWriter writer;
  std::vector<std::byte> buffer;
  std::size_t next = 0;  ///< index in `order` of the tensor to add
};

PackedWriter::PackedWriter(const std::filesystem::path& out, const Checkpoint& source,
                           PackOptions options)
    : impl_(std::make_unique<Impl>(out, source, std::move(options))) {}

PackedWriter::~PackedWriter() = default;

const std::vector<TensorId>& PackedWriter::order() const noexcept { return impl_->order; }

bool PackedWriter::is_one_bit(const TensorId& id) const { return impl_->is_one_bit(id); }

void PackedWriter::add_one_bit(Role role, std::int64_t layer, std::span<const std::uint64_t> words,
                               std::span<const float> g, std::span<const float> h) {
  const TensorId id{role, layer};
  impl_->take(id, /*one_bit=*/true);
  const formats::Shape shape = shape_of(impl_->config, impl_->spec(id));
  const std::int64_t row_words = formats::sign1_row_words(shape[1]);
  ONEBIT_CHECK(std::ssize(words) == shape[0] * row_words);
  ONEBIT_CHECK(std::ssize(g) == (impl_->folded() ? 0 : shape[1]));
  ONEBIT_CHECK(std::ssize(h) ==
               shape[0] * group_count(shape[1], impl_->options.provenance.group_size));
  if (shape[1] % 64 != 0) {
    for (std::int64_t r = 1; r <= shape[0]; ++r) {
      ONEBIT_CHECK(words[static_cast<std::size_t>(r * row_words - 1)] >> (shape[1] % 64) == 0);
    }
  }
  const std::string base = gguf_name(impl_->spec(id), layer);
  impl_->writer.write(base + std::string(kSignSuffix), std::as_bytes(words));
  if (!impl_->folded()) impl_->write_scale(base + std::string(kInScaleSuffix), g);
  impl_->write_scale(base + std::string(kOutScaleSuffix), h);
}

void PackedWriter::add_dense(Role role, std::int64_t layer, std::span<const float> values) {
  const TensorId id{role, layer};
  impl_->take(id, /*one_bit=*/false);
  ONEBIT_CHECK(static_cast<std::uint64_t>(values.size()) ==
               formats::element_count(shape_of(impl_->config, impl_->spec(id))));
  const std::string name = gguf_name(impl_->spec(id), layer) + std::string(kWeightSuffix);
  impl_->write_values(name, impl_->dense_type(id), values);
}

void PackedWriter::finish() {
  ONEBIT_CHECK(impl_->next == impl_->order.size());
  impl_->writer.finish();
}

}  // namespace onebit::arch
