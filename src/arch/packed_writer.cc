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

}  // namespace

void require_precise_scales(std::span<const float> values, DType type, std::string_view name) {
  constexpr float kSmallestNormalF16 = 0x1p-14F;
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  if (type != DType::kF16 || largest == 0 || largest >= kSmallestNormalF16) return;
  throw Error(ErrorCode::kNumeric,
              fmt::format("{}: found {} as the largest scale, expected at least 2^-14, which f16 "
                          "holds with full precision; choose f32 (--scales)",
                          name, largest));
}

std::map<TensorId, DType> all_linear(const ModelConfig& config, DType type) {
  std::map<TensorId, DType> result;
  for (const TensorId& id : tensor_ids(config)) {
    if (find_tensor(*config.arch, id.role)->linear) result.emplace(id, type);
  }
  return result;
}

void PackOptions::set(const TensorId& matrix, const Storage& storage) {
  if (const auto* type = std::get_if<DType>(&storage)) dense[matrix] = *type;
  if (const auto* spec = std::get_if<CodeSpec>(&storage)) codes[matrix] = *spec;
  if (const auto* spec = std::get_if<LowRankSpec>(&storage)) low_rank[matrix] = *spec;
}

std::string program_name() { return "onebit " ONEBIT_VERSION; }

Provenance provenance_of(const Checkpoint& source, std::string method, Form form,
                         std::int64_t group_size) {
  return {std::move(method), form, source.name(), source.sha256(), program_name(), group_size};
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
    return spec(id).linear && !options.dense.contains(id) && !options.codes.contains(id) &&
           !options.low_rank.contains(id);
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
    if (!options.codes.empty()) set(kPackedCodesKey, formats::kCodesLayout);
    set_activations();
    if (!config.block_norms) writer.set(kBlockNormsKey, file::GgufValue{false});
  }

  void set_activations() {
    const ActivationRule& rule = options.provenance.activations;
    const auto set = [this](std::string_view key, std::string_view word) {
      writer.set(key, file::GgufValue{std::string(word)});
    };
    const auto set_bits = [this](std::string_view key, int bits) {
      if (bits != ActivationRule::kExact) {
        writer.set(key, file::GgufValue{static_cast<std::uint32_t>(bits)});
      }
    };
    if (rule.norm != InputNorm::kNone) set(kPackedInputNormKey, word_of(rule.norm));
    set_bits(kPackedInputBitsKey, rule.bits);
    set_bits(kPackedKvBitsKey, rule.kv_bits);
    if (rule.bits != ActivationRule::kExact || rule.kv_bits != ActivationRule::kExact) {
      set(kPackedRoundingKey, word_of(rule.rounding));
    }
    if (const auto& exact = options.provenance.exact_inputs; !exact.empty()) {
      writer.set(kPackedExactKey, file::GgufValue{file::GgufArray{exact}});
    }
  }

  void check_scale_type() const {
    if (options.scales == DType::kF16 || options.scales == DType::kF32) return;
    throw Error(ErrorCode::kUnsupported, fmt::format("scales: found type {}, expected f16 or f32",
                                                     formats::info(options.scales).name));
  }

  void declare_codes(const std::string& base, const formats::Shape& shape, const CodeSpec& spec) {
    check_scale_type();
    const auto declare = [&](std::string_view suffix, DType type, const formats::Shape& size) {
      writer.declare(base + std::string(suffix), type, size);
    };
    const std::int64_t out = shape[0];
    declare(kCodesSuffix, DType::kI8, {out, formats::codes_row_bytes(shape[1], spec.bits)});
    declare(kGroupsSuffix, DType::kI32, {1 + spec.groups});
    if (spec.tables) {
      declare(kLevelsSuffix, options.scales, {out, spec.groups, std::int64_t{1} << spec.bits});
    } else if (spec.products) {
      declare(kRowScaleSuffix, options.scales, {out, spec.groups, 2});
      declare(kKindsSuffix, DType::kI8, {spec.groups});
    } else {
      declare(kScaleSuffix, options.scales, {out, spec.groups});
      if (spec.zero) declare(kZeroSuffix, *spec.zero, {out, spec.groups});
    }
    if (spec.ordered) declare(kOrderSuffix, DType::kI32, {shape[1]});
    if (spec.products) {
      declare(kInScaleSuffix, options.scales, {2, shape[1]});
    } else if (spec.in_scale) {
      declare(kInScaleSuffix, options.scales, {shape[1]});
    }
  }

  void declare(const TensorId& id) {
    const std::string base = gguf_name(spec(id), id.layer);
    const formats::Shape shape = shape_of(config, spec(id));
    if (const auto coded = options.codes.find(id); coded != options.codes.end()) {
      declare_codes(base, shape, coded->second);
      return;
    }
    if (const auto found = options.low_rank.find(id); found != options.low_rank.end()) {
      const auto& [rank, type] = found->second;
      writer.declare(base + std::string(kOutFactorSuffix), type, {shape[0], rank});
      writer.declare(base + std::string(kInFactorSuffix), type, {rank, shape[1]});
      return;
    }
    if (is_one_bit(id)) {
      check_scale_type();
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
                              "type {}; choose f16 (--embed, --head)",
                              name, shape.back(), formats::info(type).block_size,
                              formats::info(type).name));
    }
    writer.declare(name, type, shape);
  }

  enum class Kind : std::uint8_t { kOneBit, kCodes, kLowRank, kDense };

  Kind kind(const TensorId& id) const {
    if (is_one_bit(id)) return Kind::kOneBit;
    if (options.low_rank.contains(id)) return Kind::kLowRank;
    return options.codes.contains(id) ? Kind::kCodes : Kind::kDense;
  }

  void take(const TensorId& id, Kind expected) {
    ONEBIT_CHECK(next < order.size() && order[next] == id);
    ONEBIT_CHECK(kind(id) == expected);
    ++next;
  }

  void write_integers(const std::string& name, std::vector<std::int32_t> values) {
    writer.write(name, std::as_bytes(std::span(values)));
  }

  /// Zero points as `type` has them.
  void write_zeros(const std::string& name, DType type, std::span<const float> zeros) {
    const auto write = [&]<class Integer>(Integer, float offset) {
      std::vector<Integer> stored(zeros.size());
      for (std::size_t i = 0; i < zeros.size(); ++i) {
        stored[i] = static_cast<Integer>(zeros[i] - offset);
        ONEBIT_CHECK(static_cast<float>(stored[i]) + offset == zeros[i]);
      }
      writer.write(name, std::as_bytes(std::span(stored)));
    };
    if (type == DType::kI8) {
      write(std::int8_t{}, kZeroOffset);
    } else {
      ONEBIT_CHECK(type == DType::kI16);
      write(std::int16_t{}, 0.0F);
    }
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
    require_precise_scales(values, options.scales, fmt::format("tensor {}", name));
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

std::uint64_t PackedWriter::file_bytes() { return impl_->writer.file_bytes(); }

bool PackedWriter::is_one_bit(const TensorId& id) const { return impl_->is_one_bit(id); }

void PackedWriter::add_one_bit(Role role, std::int64_t layer, std::span<const std::uint64_t> words,
                               std::span<const float> g, std::span<const float> h) {
  const TensorId id{role, layer};
  impl_->take(id, Impl::Kind::kOneBit);
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

void PackedWriter::add_codes(Role role, std::int64_t layer, const CodeValues& values) {
  const TensorId id{role, layer};
  impl_->take(id, Impl::Kind::kCodes);
  const CodeSpec& spec = impl_->options.codes.at(id);
  const formats::Shape shape = shape_of(impl_->config, impl_->spec(id));
  const auto in = static_cast<std::size_t>(shape[1]);
  const std::size_t grids = static_cast<std::size_t>(shape[0] * spec.groups);
  ONEBIT_CHECK(values.codes.size() == static_cast<std::size_t>(shape[0]) * in);
  ONEBIT_CHECK(std::ssize(values.ends) == spec.groups && values.ends.back() == shape[1]);
  ONEBIT_CHECK(!spec.products || (spec.bits == 2 && !spec.tables && !spec.zero && !spec.in_scale));
  ONEBIT_CHECK(values.scale.size() == (spec.tables || spec.products ? 0 : grids));
  ONEBIT_CHECK(values.zero.size() == (spec.zero ? grids : 0));
  ONEBIT_CHECK(values.levels.size() == (spec.tables ? grids << spec.bits : 0));
  ONEBIT_CHECK(values.order.size() == (spec.ordered ? in : 0));
  ONEBIT_CHECK(values.row_scale.size() == (spec.products ? 2 * grids : 0));
  ONEBIT_CHECK(std::ssize(values.kinds) == (spec.products ? spec.groups : 0));
  ONEBIT_CHECK(values.in_scale.size() == (spec.products ? 2 * in : spec.in_scale ? in : 0));

  const std::string base = gguf_name(impl_->spec(id), layer);
  const auto named = [&](std::string_view suffix) { return base + std::string(suffix); };
  const auto row_bytes = static_cast<std::size_t>(formats::codes_row_bytes(shape[1], spec.bits));
  std::vector<std::byte> packed(static_cast<std::size_t>(shape[0]) * row_bytes);
  for (std::size_t r = 0; r < static_cast<std::size_t>(shape[0]); ++r) {
    formats::codes_pack_row(std::span(values.codes).subspan(r * in, in), spec.bits,
                            std::span(packed).subspan(r * row_bytes, row_bytes));
  }
  impl_->writer.write(named(kCodesSuffix), packed);
  std::vector<std::int32_t> header = {spec.bits};
  header.insert(header.end(), values.ends.begin(), values.ends.end());
  impl_->write_integers(named(kGroupsSuffix), std::move(header));
  if (spec.tables) {
    impl_->write_scale(named(kLevelsSuffix), values.levels);
  } else if (spec.products) {
    impl_->write_scale(named(kRowScaleSuffix), values.row_scale);
    impl_->writer.write(named(kKindsSuffix), std::as_bytes(std::span(values.kinds)));
  } else {
    impl_->write_scale(named(kScaleSuffix), values.scale);
    if (spec.zero) impl_->write_zeros(named(kZeroSuffix), *spec.zero, values.zero);
  }
  if (spec.ordered) impl_->write_integers(named(kOrderSuffix), values.order);
  if (!values.in_scale.empty()) impl_->write_scale(named(kInScaleSuffix), values.in_scale);
}

void PackedWriter::add_low_rank(Role role, std::int64_t layer, std::span<const float> a,
                                std::span<const float> b) {
  const TensorId id{role, layer};
  impl_->take(id, Impl::Kind::kLowRank);
  const LowRankSpec& spec = impl_->options.low_rank.at(id);
  const formats::Shape shape = shape_of(impl_->config, impl_->spec(id));
  ONEBIT_CHECK(std::ssize(a) == shape[0] * spec.rank && std::ssize(b) == spec.rank * shape[1]);
  const std::string base = gguf_name(impl_->spec(id), layer);
  impl_->write_values(base + std::string(kOutFactorSuffix), spec.type, a);
  impl_->write_values(base + std::string(kInFactorSuffix), spec.type, b);
}

void PackedWriter::add_dense(Role role, std::int64_t layer, std::span<const float> values) {
  const TensorId id{role, layer};
  impl_->take(id, Impl::Kind::kDense);
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
