// A tiny random Llama in memory and on disk, for tests of every layer that reads models: grouped
// queries, a head size that is an odd multiple of two, no size a multiple of 64, all sizes
// different. Header only and free of GoogleTest, so that any test program may use it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "arch/checkpoint.h"
#include "arch/gguf_config.h"
#include "arch/gguf_tokenizer.h"
#include "arch/hf_config.h"
#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/rng.h"
#include "file/gguf.h"
#include "file/safetensors.h"
#include "formats/dequantize.h"

namespace onebit::arch::test_models {

/// heads · head_dim (60) differs from dim (42), as transformers and GGUF allow.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.arch = &arch_by_gguf_name("llama");
  config.vocab = 37;
  config.dim = 42;
  config.layers = 2;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 10;
  config.ffn = 70;
  config.context = 64;
  config.norm_eps = 1e-5;
  return config;
}

struct TinyModel {
  ModelConfig config;
  std::map<TensorId, std::vector<float>> weights;  ///< canonical layout, row-major
};

/// Uniform weights of variance 1/in, so that activations keep their size; norms in [0.5, 1.5).
inline TinyModel random_model(const ModelConfig& config, std::uint64_t seed) {
  TinyModel model{config, {}};
  Rng rng(seed);
  for (const TensorId& id : tensor_ids(config)) {
    const formats::Shape shape = shape_of(config, *find_tensor(*config.arch, id.role));
    const bool norm = shape.size() == 1;
    const double scale = norm ? 1.0 : 2.0 * std::sqrt(3.0 / static_cast<double>(shape.back()));
    std::vector<float> values(*formats::element_count(shape));
    for (float& v : values) {
      v = static_cast<float>((rng.uniform() - 0.5) * scale + (norm ? 1.0 : 0.0));
    }
    model.weights.emplace(id, std::move(values));
  }
  return model;
}

/// 37 SentencePiece tokens: unknown, BOS, EOS, the space, a to z, and a few merges.
inline text::TokenizerData tiny_tokenizer() {
  text::TokenizerData data;
  data.model = "llama";
  data.tokens = {"<unk>", "<s>", "</s>", "\u2581"};
  for (char c = 'a'; c <= 'z'; ++c) data.tokens.emplace_back(1, c);
  for (const char* merged : {"\u2581t", "he", "\u2581the", "in", "an", "er", "on"}) {
    data.tokens.emplace_back(merged);
  }
  data.types.assign(data.tokens.size(), text::TokenType::kNormal);
  data.types[0] = text::TokenType::kUnknown;
  data.types[1] = data.types[2] = text::TokenType::kControl;
  data.scores.resize(data.tokens.size());
  for (std::size_t i = 3; i < data.scores.size(); ++i) data.scores[i] = -static_cast<float>(i);
  data.unk = 0;
  data.bos = 1;
  data.eos = 2;
  data.add_bos = true;
  return data;
}

/// Blocks of random bits of a quantised type, each drawn until its values are within [-0.3, 0.3].
inline std::vector<std::byte> random_blocks(formats::DType type, std::int64_t count,
                                            std::uint64_t seed) {
  const formats::DTypeInfo& info = formats::info(type);
  std::vector<std::byte> bytes(*formats::byte_count(type, {count}));
  std::vector<float> values(static_cast<std::size_t>(info.block_size));
  Rng rng(seed);
  for (std::size_t at = 0; at < bytes.size(); at += info.block_bytes) {
    const std::span<std::byte> block = std::span(bytes).subspan(at, info.block_bytes);
    do {
      for (std::byte& b : block) b = static_cast<std::byte>(rng.next() >> 56);
      formats::dequantize(type, block, values);
    } while (
        !std::all_of(values.begin(), values.end(), [](float v) { return std::abs(v) <= 0.3; }));
  }
  return bytes;
}

/// The values in `type`; other values of their size in a type that the program only reads.
inline std::vector<std::byte> encode(formats::DType type, const std::vector<float>& values) {
  if (!formats::can_quantize(type)) {
    return random_blocks(type, std::ssize(values), std::bit_cast<std::uint32_t>(values.front()));
  }
  std::vector<std::byte> bytes(*formats::byte_count(type, {std::ssize(values)}));
  formats::quantize(type, values, bytes);
  return bytes;
}

/// A Hugging Face folder without tokenizer: config.json and model.safetensors. The rows of q and k
/// go back to Hugging Face's order: canonical row r is its row rope_source_row(r).
inline void write_hf(const TinyModel& model, const std::filesystem::path& folder,
                     formats::DType type = formats::DType::kF32) {
  std::filesystem::create_directories(folder);
  const bool f32 = type == formats::DType::kF32;
  const bool f16 = type == formats::DType::kF16;
  write_file(folder / "config.json", hf_config_json(model.config, f32   ? "float32"
                                                                  : f16 ? "float16"
                                                                        : "bfloat16"));
  file::SafetensorsWriter writer(folder / "model.safetensors");
  writer.set_metadata("format", "pt");
  const auto name = [&](const TensorId& id) {
    return hf_name(*find_tensor(*model.config.arch, id.role), id.layer) + ".weight";
  };
  for (const TensorId& id : tensor_ids(model.config)) {
    writer.declare(name(id), type,
                   shape_of(model.config, *find_tensor(*model.config.arch, id.role)));
  }
  for (const TensorId& id : tensor_ids(model.config)) {
    const std::vector<float>& canonical = model.weights.at(id);
    std::vector<float> values = canonical;
    if (id.role == Role::kAttnQ || id.role == Role::kAttnK) {
      const std::int64_t cols = model.config.dim;
      for (std::int64_t r = 0; r < std::ssize(values) / cols; ++r) {
        const std::int64_t source = rope_source_row(r, model.config.head_dim);
        std::copy_n(canonical.begin() + r * cols, cols, values.begin() + source * cols);
      }
    }
    writer.write(name(id), encode(type, values));
  }
  writer.finish();
}

/// A GGUF file, matrices in `type` and norms in f32, with tiny_tokenizer() when asked.
inline void write_gguf(const TinyModel& model, const std::filesystem::path& path,
                       formats::DType type = formats::DType::kF32, bool tokenizer = false) {
  file::GgufWriter writer(path);
  for (auto& [key, value] : config_to_gguf(model.config)) writer.set(key, value);
  writer.set("general.name", file::GgufValue{std::string("tiny")});
  if (tokenizer) {
    for (auto& [key, value] : tokenizer_to_gguf(tiny_tokenizer())) {
      writer.set(key, value);
    }
  }
  const std::vector<float> factors = rope_factors(model.config);
  if (!factors.empty()) {
    writer.declare(kRopeFactorsTensor, formats::DType::kF32, {std::ssize(factors)});
  }
  const auto shape = [&](const TensorId& id) {
    return shape_of(model.config, *find_tensor(*model.config.arch, id.role));
  };
  const auto name = [&](const TensorId& id) {
    return gguf_name(*find_tensor(*model.config.arch, id.role), id.layer) + ".weight";
  };
  const auto stored_type = [&](const TensorId& id) {
    return shape(id).size() == 1 ? formats::DType::kF32 : type;
  };
  for (const TensorId& id : tensor_ids(model.config)) {
    writer.declare(name(id), stored_type(id), shape(id));
  }
  if (!factors.empty()) {
    writer.write(kRopeFactorsTensor, encode(formats::DType::kF32, factors));
  }
  for (const TensorId& id : tensor_ids(model.config)) {
    writer.write(name(id), encode(stored_type(id), model.weights.at(id)));
  }
  writer.finish();
}

/// Every form that a packed file can have.
struct FormCase {
  const char* name;
  Form form;
  std::int64_t group_size = 0;
};
inline constexpr FormCase kForms[] = {{"paper", Form::kPaper},
                                      {"free", Form::kFree},
                                      {"foldable", Form::kFoldable},
                                      {"groups of 16", Form::kFoldable, 16},
                                      {"groups of 32", Form::kFoldable, 32},
                                      {"groups of 64", Form::kFoldable, 64},
                                      {"groups of 128", Form::kFoldable, 128}};

/// What a test packs of one matrix: signs of its weights, g and h from their first row and columns.
struct Packed {
  std::vector<std::uint64_t> words;
  std::vector<float> g;
  std::vector<float> h;
};

inline Packed pack(const TinyModel& model, const TensorId& id, const Provenance& provenance) {
  const formats::Shape shape = shape_of(model.config, *find_tensor(*model.config.arch, id.role));
  const std::span<const float> w = model.weights.at(id);
  const auto rows = static_cast<std::size_t>(shape[0]);
  const auto cols = static_cast<std::size_t>(shape[1]);
  const auto row_words = static_cast<std::size_t>(formats::sign1_row_words(shape[1]));
  Packed result;
  result.words.resize(rows * row_words);
  for (std::size_t r = 0; r < rows; ++r) {
    formats::sign1_pack_row(w.subspan(r * cols, cols),
                            std::span(result.words).subspan(r * row_words, row_words));
    const auto groups = static_cast<std::size_t>(group_count(shape[1], provenance.group_size));
    for (std::size_t b = 0; b < groups; ++b) result.h.push_back(w[r * cols + b]);
  }
  if (provenance.form != Form::kFoldable) result.g.assign(w.begin(), w.begin() + shape[1]);
  return result;
}

/// Every way to store codes: grids and tables, groups that do not divide the inputs.
inline std::vector<CodeSpec> code_specs() {
  using formats::DType;
  return {{.bits = 1},
          {.bits = 2, .groups = 3, .zero = DType::kI8},
          {.bits = 3, .groups = 2, .zero = DType::kI16, .ordered = true},
          {.bits = 4, .in_scale = true},
          {.bits = 8, .groups = 2, .zero = DType::kI8, .ordered = true, .in_scale = true},
          {.bits = 1, .groups = 2, .tables = true},
          {.bits = 2, .groups = 3, .tables = true, .ordered = true},
          {.bits = 2, .groups = 2, .products = true},
          {.bits = 2, .groups = 3, .products = true, .ordered = true}};
}

/// Random values of a matrix [out, in]. Levels, scales and zero points are such that f16 has them.
inline CodeValues random_codes(const CodeSpec& spec, const formats::Shape& shape,
                               std::uint64_t seed) {
  Rng rng(seed);
  const auto in = static_cast<std::size_t>(shape[1]);
  const auto grids = static_cast<std::size_t>(shape[0] * spec.groups);
  const auto sixteenths = [&](std::size_t count, std::uint64_t most) {
    std::vector<float> values(count);
    for (float& v : values) v = static_cast<float>(1 + rng.below(most)) / 16.0F;
    return values;
  };
  CodeValues values;
  values.codes.resize(static_cast<std::size_t>(shape[0]) * in);
  for (std::uint8_t& code : values.codes) {
    code = static_cast<std::uint8_t>(rng.below(std::uint64_t{1} << spec.bits));
  }
  for (std::int64_t s = 1; s < spec.groups; ++s) {
    values.ends.push_back(static_cast<std::int32_t>(5 * s * s));
  }
  values.ends.push_back(static_cast<std::int32_t>(in));
  if (spec.tables) {
    values.levels = sixteenths(grids << spec.bits, 30);
  } else if (spec.products) {
    values.row_scale = sixteenths(2 * grids, 4);
    values.in_scale = sixteenths(2 * in, 40);
    for (std::int64_t s = 0; s < spec.groups; ++s) {
      values.kinds.push_back(s % 2 == 0 ? ProductKind::kSum : ProductKind::kOneOf);
    }
  } else {
    values.scale = sixteenths(grids, 4);
    if (spec.zero) {
      const bool wide = *spec.zero == formats::DType::kI16;
      for (std::size_t i = 0; i < grids; ++i) {
        const auto zero = static_cast<float>(rng.below(256));
        values.zero.push_back(wide ? 2 * zero - 300 : zero);
      }
    }
  }
  if (spec.ordered) {
    for (std::size_t c = 0; c < in; ++c) {
      values.order.push_back(static_cast<std::int32_t>((c * 11 + 3) % in));  // 11 divides no size
    }
  }
  if (spec.in_scale) values.in_scale = sixteenths(in, 40);
  return values;
}

/// What write_packed() stores of a matrix.
inline CodeValues coded(const TinyModel& model, const TensorId& id, const CodeSpec& spec) {
  const TensorSpec& tensor = *find_tensor(*model.config.arch, id.role);
  return random_codes(
      spec, shape_of(model.config, tensor),
      static_cast<std::uint64_t>(100 * id.layer) + static_cast<std::uint64_t>(id.role));
}

/// Packs every matrix that `options` does not keep dense. `source` is the model on disk.
inline void write_packed(const std::filesystem::path& out, const TinyModel& model,
                         const Checkpoint& source, const PackOptions& options) {
  PackedWriter writer(out, source, options);
  for (const TensorId& id : writer.order()) {
    if (writer.is_one_bit(id)) {
      const Packed packed = pack(model, id, options.provenance);
      writer.add_one_bit(id.role, id.layer, packed.words, packed.g, packed.h);
    } else if (const auto spec = options.codes.find(id); spec != options.codes.end()) {
      writer.add_codes(id.role, id.layer, coded(model, id, spec->second));
    } else {
      writer.add_dense(id.role, id.layer, model.weights.at(id));
    }
  }
  if (std::filesystem::exists(out)) throw std::runtime_error("a packed file before finish()");
  writer.finish();
}

}  // namespace onebit::arch::test_models
