// A GGUF file as a checkpoint: dense models as llama.cpp's converter writes them, and our packed
// 1-bit files (onebit.* metadata).
#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "arch/checkpoint_impl.h"
#include "arch/gguf_codes.h"
#include "arch/gguf_config.h"
#include "arch/gguf_tokenizer.h"
#include "arch/packed_format.h"
#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {
namespace {

class GgufCheckpoint final : public Checkpoint::Impl {
 public:
  GgufCheckpoint(const std::filesystem::path& file_path, file::GgufFile gguf)
      : gguf_(std::move(gguf)) {
    path = file_path;
    config = config_from_gguf(gguf_);
    name = gguf_.get_string("general.name").value_or(file_path.stem().string());
    provenance = read_provenance();
    for (const TensorId& id : tensor_ids(config)) {
      const auto [it, inserted] = tensors.emplace(id, find_stored(id));
      any_one_bit_ = any_one_bit_ || it->second.one_bit.has_value();
      any_codes_ = any_codes_ || it->second.codes.has_value();
    }
    if (any_one_bit_) check_one_bit_keys();
    if (any_codes_) check_codes_keys();
    check_no_others();
  }

  void release(const formats::TensorView& view) const override { gguf_.release(view); }

  std::vector<std::span<const std::byte>> weight_files() const override { return {gguf_.bytes()}; }

  std::optional<text::TokenizerData> tokenizer_data() const override {
    return tokenizer_from_gguf(gguf_);
  }

  std::string chat_template() const override {
    return gguf_.get_string(kChatTemplateKey).value_or("");
  }

  Metadata metadata() const override {
    // What describes this file's own tensors is left to whoever writes the next file.
    static const std::set<std::string_view> kOwn = {"general.alignment", "general.file_type",
                                                    "general.quantization_version"};
    Metadata result;
    for (const auto& [key, value] : gguf_.metadata()) {
      if (kOwn.contains(key) || key.starts_with(kPackedPrefix)) continue;
      result.emplace_back(key, value);
    }
    return result;
  }

 private:
  std::optional<Provenance> read_provenance() const {
    const auto version = gguf_.get_int(kPackedVersionKey);
    if (!version) return std::nullopt;
    if (*version != kPackedVersion) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: {}: found {}, expected {}", gguf_.name(), kPackedVersionKey,
                              *version, kPackedVersion));
    }
    Provenance result;
    result.method = gguf_.require_string(kPackedMethodKey);
    result.form = parse_form(gguf_.get_string(kPackedFormKey).value_or("paper"), gguf_.name());
    result.group_size = gguf_.get_int(kPackedGroupKey).value_or(0);
    try {
      require_group_size(result.form, result.group_size);
    } catch (const Error& error) {
      throw Error(error.code(),
                  fmt::format("{}: {}: {}", gguf_.name(), kPackedGroupKey, error.what()));
    }
    result.source_name = gguf_.get_string(kPackedSourceNameKey).value_or("");
    result.source_sha256 = gguf_.get_string(kPackedSourceHashKey).value_or("");
    result.program = gguf_.get_string(kPackedProgramKey).value_or("");
    result.activations = read_activations();
    if (const auto* names = gguf_.get_strings(kPackedExactKey)) result.exact_inputs = *names;
    return result;
  }

  ActivationRule read_activations() const {
    ActivationRule rule;
    rule.norm = read_word(kPackedInputNormKey, rule.norm);
    rule.rounding = read_word(kPackedRoundingKey, rule.rounding);
    rule.bits = read_bits(kPackedInputBitsKey);
    rule.kv_bits = read_bits(kPackedKvBitsKey);
    return rule;
  }

  /// Of a key that may be absent.
  template <Worded E>
  E read_word(std::string_view key, E absent) const {
    const std::optional<std::string> word = gguf_.get_string(key);
    if (!word) return absent;
    if (const auto value = value_of<E>(*word)) return *value;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: {}: found {}, expected one of {}", gguf_.name(), key,
                            file::in_quotes(*word), fmt::join(all_words<E>(), ", ")));
  }

  int read_bits(std::string_view key) const {
    const auto bits = gguf_.get_int(key);
    if (!bits) return ActivationRule::kExact;
    if (*bits < 2 || *bits > ActivationRule::kMostBits) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: {}: found {}, expected 2 to {}", gguf_.name(), key, *bits,
                              ActivationRule::kMostBits));
    }
    return static_cast<int>(*bits);
  }

  /// A file with 1-bit matrices says what they mean; one without need not.
  void check_one_bit_keys() const {
    require_provenance("1-bit matrices");
    gguf_.require_string(kPackedFormKey);
    require_layout(kPackedLayoutKey, formats::kSign1Layout);
  }

  void check_codes_keys() const {
    require_provenance("matrices of codes");
    require_layout(kPackedCodesKey, formats::kCodesLayout);
  }

  void require_provenance(std::string_view what) const {
    if (provenance) return;
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found {}, but no {}", gguf_.name(), what, kPackedVersionKey));
  }

  void require_layout(std::string_view key, std::string_view expected) const {
    const std::string layout = gguf_.require_string(key);
    if (layout == expected) return;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: {}: found {}, expected '{}'", gguf_.name(), key,
                            file::in_quotes(layout), expected));
  }

  StoredTensor find_stored(const TensorId& id) const {
    const TensorSpec& spec = *find_tensor(*config.arch, id.role);
    const std::string base = gguf_name(spec, id.layer);
    const file::GgufTensor* dense = gguf_.find_tensor(base + std::string(kWeightSuffix));
    const file::GgufTensor* sign = gguf_.find_tensor(base + std::string(kSignSuffix));
    const file::GgufTensor* codes = gguf_.find_tensor(base + std::string(kCodesSuffix));
    const file::GgufTensor* factor = gguf_.find_tensor(base + std::string(kOutFactorSuffix));
    require_one(base, {dense, sign, codes, factor});
    StoredTensor result;
    if (dense != nullptr) {
      check_shape(gguf_.name(), dense->name, dense->view.shape, shape_of(config, spec));
      result.dense = Checkpoint::Stored{dense->view, /*permute_rows=*/false};
    } else if (spec.linear && sign != nullptr) {
      result.one_bit = find_one_bit(base, *sign, shape_of(config, spec));
    } else if (spec.linear && codes != nullptr) {
      result.codes = find_codes(gguf_, base, shape_of(config, spec));
    } else if (spec.linear && factor != nullptr) {
      result.low_rank = find_factors(base, *factor, shape_of(config, spec));
    } else {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: tensor {}{} is absent, expected with shape {}", gguf_.name(),
                              base, kWeightSuffix, formats::to_string(shape_of(config, spec))));
    }
    return result;
  }

  void require_one(const std::string& base,
                   std::initializer_list<const file::GgufTensor*> found) const {
    const file::GgufTensor* first = nullptr;
    for (const file::GgufTensor* tensor : found) {
      if (tensor == nullptr) continue;
      if (first != nullptr) {
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("{}: tensor {}: found both {} and {}, expected one of them",
                                gguf_.name(), base, first->name, tensor->name));
      }
      first = tensor;
    }
  }

  StoredOneBit find_one_bit(const std::string& base, const file::GgufTensor& sign,
                            const formats::Shape& shape) const {
    check_shape(gguf_.name(), sign.name, sign.view.shape,
                {shape[0], formats::sign1_row_bytes(shape[1])});
    if (sign.view.dtype != formats::DType::kI8) bad_type(sign, "i8");
    if (reinterpret_cast<std::uintptr_t>(sign.view.data.data()) % formats::kSignRowAlign != 0) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: tensor {}: found misaligned data, expected a multiple of {} "
                              "bytes (general.alignment)",
                              gguf_.name(), sign.name, formats::kSignRowAlign));
    }
    const bool folded = provenance && provenance->form == Form::kFoldable;
    const std::int64_t group_size = provenance ? provenance->group_size : 0;
    StoredOneBit result{
        .sign = sign.view, .in = shape[1], .in_scale = {}, .out_scale = {}, .name = base};
    if (!folded) result.in_scale = find_scale(base + std::string(kInScaleSuffix), {shape[1]});
    formats::Shape out = {shape[0]};
    if (group_size > 0) out.push_back(group_count(shape[1], group_size));
    result.out_scale = find_scale(base + std::string(kOutScaleSuffix), out);
    return result;
  }

  LowRankMatrix find_factors(const std::string& base, const file::GgufTensor& out_factor,
                             const formats::Shape& shape) const {
    require_provenance("matrices of two factors");
    const std::string in_name = base + std::string(kInFactorSuffix);
    const file::GgufTensor* in_factor = gguf_.find_tensor(in_name);
    if (in_factor == nullptr) {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: tensor {} is absent", gguf_.name(), in_name));
    }
    const formats::Shape& found = out_factor.view.shape;
    const std::int64_t most = std::min(shape[0], shape[1]);
    const std::int64_t rank = std::clamp(found.size() == 2 ? found[1] : 1, std::int64_t{1}, most);
    check_shape(gguf_.name(), out_factor.name, found, {shape[0], rank});
    check_shape(gguf_.name(), in_name, in_factor->view.shape, {rank, shape[1]});
    for (const file::GgufTensor* tensor : {&out_factor, in_factor}) {
      const formats::DType type = tensor->view.dtype;
      if (type != formats::DType::kF16 && type != formats::DType::kF32) {
        bad_type(*tensor, "f16 or f32");
      }
    }
    return {out_factor.view, in_factor->view};
  }

  formats::TensorView find_scale(const std::string& tensor_name,
                                 const formats::Shape& shape) const {
    const file::GgufTensor* tensor = gguf_.find_tensor(tensor_name);
    if (tensor == nullptr) {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: tensor {} is absent", gguf_.name(), tensor_name));
    }
    check_shape(gguf_.name(), tensor_name, tensor->view.shape, shape);
    if (tensor->view.dtype != formats::DType::kF16 && tensor->view.dtype != formats::DType::kF32) {
      bad_type(*tensor, "f16 or f32");
    }
    return tensor->view;
  }

  [[noreturn]] void bad_type(const file::GgufTensor& tensor, std::string_view expected) const {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: tensor {}: found type {}, expected {}", gguf_.name(), tensor.name,
                            formats::info(tensor.view.dtype).name, expected));
  }

  /// A tensor that the architecture does not know (a bias, a second norm) would change results.
  void check_no_others() const {
    std::set<std::string, std::less<>> known = {std::string(kRopeFactorsTensor)};
    for (const auto& [id, stored] : tensors) {
      const std::string base = gguf_name(*find_tensor(*config.arch, id.role), id.layer);
      if (stored.dense) {
        known.insert(base + std::string(kWeightSuffix));
      } else if (stored.low_rank) {
        known.insert(base + std::string(kOutFactorSuffix));
        known.insert(base + std::string(kInFactorSuffix));
      } else if (stored.codes) {
        for (std::string& tensor : tensor_names(*stored.codes)) known.insert(std::move(tensor));
      } else {
        known.insert(base + std::string(kSignSuffix));
        known.insert(base + std::string(kOutScaleSuffix));
        if (stored.one_bit->in_scale) known.insert(base + std::string(kInScaleSuffix));
      }
    }
    for (const file::GgufTensor& tensor : gguf_.tensors()) {
      if (!known.contains(tensor.name)) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{}: found tensor {}, which architecture {} with {} layers does "
                                "not have",
                                gguf_.name(), file::in_quotes(tensor.name), config.arch->name,
                                config.layers));
      }
    }
  }

  file::GgufFile gguf_;
  bool any_one_bit_ = false;
  bool any_codes_ = false;
};

}  // namespace

std::unique_ptr<Checkpoint::Impl> open_gguf(const std::filesystem::path& path,
                                            file::GgufFile gguf) {
  return std::make_unique<GgufCheckpoint>(path, std::move(gguf));
}

}  // namespace onebit::arch
