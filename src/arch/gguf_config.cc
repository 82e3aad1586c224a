// Reads and writes the sizes and options of a model as GGUF metadata.
#include "arch/gguf_config.h"

#include <fmt/format.h>

#include "base/error.h"
#include "file/quote.h"
#include "formats/dequantize.h"

namespace onebit::arch {
namespace {

/// The keys of one architecture in one file, "llama.block_count" and so on.
class Keys {
 public:
  Keys(const file::GgufFile& gguf, std::string_view prefix) : gguf_(gguf), prefix_(prefix) {}

  std::string name(std::string_view key) const { return fmt::format("{}.{}", prefix_, key); }
  std::int64_t require_int(std::string_view key) const { return gguf_.require_int(name(key)); }
  std::optional<std::int64_t> get_int(std::string_view key) const {
    return gguf_.get_int(name(key));
  }
  double require_float(std::string_view key) const {
    const auto value = gguf_.get_float(name(key));
    if (!value) throw Error(ErrorCode::kCorrupt, message(key, "absent", "a number"));
    return *value;
  }
  std::optional<double> get_float(std::string_view key) const { return gguf_.get_float(name(key)); }
  std::optional<std::string> get_string(std::string_view key) const {
    return gguf_.get_string(name(key));
  }

  /// An option that the architecture may have and that changes results: only `expected` is handled.
  void require_equal(std::string_view key, std::int64_t expected) const {
    const auto found = get_int(key);
    if (found && *found != expected) {
      throw Error(ErrorCode::kUnsupported,
                  message(key, fmt::to_string(*found), fmt::to_string(expected)));
    }
  }

  std::string message(std::string_view key, std::string_view found,
                      std::string_view expected) const {
    return fmt::format("{}: {}: found {}, expected {}", gguf_.name(), name(key), found, expected);
  }

 private:
  const file::GgufFile& gguf_;
  std::string_view prefix_;
};

std::vector<float> read_factors(const file::GgufFile& gguf) {
  const file::GgufTensor* tensor = gguf.find_tensor(kRopeFactorsTensor);
  if (tensor == nullptr) return {};
  if (tensor->view.shape.size() != 1) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: tensor {}: found shape {}, expected one dimension", gguf.name(),
                            kRopeFactorsTensor, formats::to_string(tensor->view.shape)));
  }
  std::vector<float> factors(static_cast<std::size_t>(tensor->view.cols()));
  formats::dequantize(tensor->view.dtype, tensor->view.data, factors);
  return factors;
}

/// Linear scaling's factor; 0 is none. Newer files have the first key.
double linear_factor(const Keys& keys) {
  const auto factor = keys.get_float("rope.scaling.factor");
  return factor ? *factor : keys.get_float("rope.scale_linear").value_or(0);
}

/// As llama.cpp: linear is what an absent type means.
RopeConfig read_rope(const file::GgufFile& gguf, const Keys& keys) {
  RopeConfig rope;
  rope.theta = keys.get_float("rope.freq_base").value_or(rope.theta);
  rope.original_context = keys.get_int("rope.scaling.original_context_length").value_or(0);
  rope.factors = read_factors(gguf);
  const std::string type = keys.get_string("rope.scaling.type").value_or("linear");
  if (type != "linear" && type != "none") {
    throw Error(ErrorCode::kUnsupported,
                keys.message("rope.scaling.type", file::in_quotes(type), "'none' or 'linear'"));
  }
  constexpr std::string_view kAttention = "rope.scaling.attn_factor";
  if (const double found = keys.get_float(kAttention).value_or(1); found != 1) {
    throw Error(ErrorCode::kUnsupported, keys.message(kAttention, fmt::to_string(found), "1"));
  }
  const double factor = type == "linear" ? linear_factor(keys) : 0;
  if (factor != 0) {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = factor;
  }
  return rope;
}

std::int64_t read_vocab(const file::GgufFile& gguf, const Keys& keys, const ArchSpec& arch) {
  const TensorSpec& spec = *find_tensor(arch, Role::kTokenEmbedding);
  const std::string name = gguf_name(spec, -1) + ".weight";
  const file::GgufTensor* embedding = gguf.find_tensor(name);
  if (embedding == nullptr) {
    throw Error(ErrorCode::kNotFound, fmt::format("{}: tensor {} is absent", gguf.name(), name));
  }
  if (embedding->view.shape.size() != 2) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: tensor {}: found shape {}, expected two dimensions", gguf.name(),
                            name, formats::to_string(embedding->view.shape)));
  }
  const std::int64_t rows = embedding->view.shape[0];
  const std::int64_t vocab = keys.get_int("vocab_size").value_or(rows);
  if (vocab != rows) {
    throw Error(ErrorCode::kCorrupt, keys.message("vocab_size", fmt::to_string(vocab),
                                                  fmt::format("{} (the rows of {})", rows, name)));
  }
  return vocab;
}

}  // namespace

ModelConfig config_from_gguf(const file::GgufFile& gguf) {
  ModelConfig config;
  config.arch = &arch_by_gguf_name(gguf.require_string("general.architecture"));
  const Keys keys(gguf, config.arch->gguf_name);
  config.dim = keys.require_int("embedding_length");
  config.layers = keys.require_int("block_count");
  config.heads = keys.require_int("attention.head_count");
  config.kv_heads = keys.get_int("attention.head_count_kv").value_or(config.heads);
  if (const auto length = keys.get_int("attention.key_length")) {
    config.head_dim = *length;
  } else {
    if (config.heads < 1 || config.dim % config.heads != 0) {
      throw Error(ErrorCode::kCorrupt,
                  keys.message("attention.head_count", fmt::to_string(config.heads),
                               fmt::format("a divisor of embedding_length {}", config.dim)));
    }
    config.head_dim = config.dim / config.heads;
  }
  config.ffn = keys.require_int("feed_forward_length");
  config.context = keys.require_int("context_length");
  config.norm_eps = keys.require_float("attention.layer_norm_rms_epsilon");
  keys.require_equal("attention.value_length", config.head_dim);
  keys.require_equal("rope.dimension_count", config.head_dim);
  keys.require_equal("expert_count", 0);
  config.vocab = read_vocab(gguf, keys, *config.arch);
  config.rope = read_rope(gguf, keys);
  const TensorSpec* head = find_tensor(*config.arch, Role::kOutput);
  config.tied_head = gguf.find_tensor(gguf_name(*head, -1) + ".weight") == nullptr;
  config.block_norms = gguf.get_bool(kBlockNormsKey).value_or(true);
  validate(config, gguf.name());
  return config;
}

std::vector<std::pair<std::string, file::GgufValue>> config_to_gguf(const ModelConfig& config) {
  std::vector<std::pair<std::string, file::GgufValue>> result;
  const auto set = [&](std::string_view key, auto value) {
    result.emplace_back(fmt::format("{}.{}", config.arch->gguf_name, key), file::GgufValue{value});
  };
  const auto u32 = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
  result.emplace_back("general.architecture", file::GgufValue{std::string(config.arch->gguf_name)});
  set("block_count", u32(config.layers));
  set("context_length", u32(config.context));
  set("embedding_length", u32(config.dim));
  set("feed_forward_length", u32(config.ffn));
  set("attention.head_count", u32(config.heads));
  set("attention.head_count_kv", u32(config.kv_heads));
  set("attention.key_length", u32(config.head_dim));
  set("attention.value_length", u32(config.head_dim));
  set("attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_eps));
  set("vocab_size", u32(config.vocab));
  set("rope.dimension_count", u32(config.head_dim));
  set("rope.freq_base", static_cast<float>(config.rope.theta));
  if (config.rope.scaling == RopeScaling::kLinear) {
    set("rope.scaling.type", std::string("linear"));
    set("rope.scaling.factor", static_cast<float>(config.rope.factor));
  }
  if (!config.block_norms) result.emplace_back(kBlockNormsKey, file::GgufValue{false});
  return result;
}

}  // namespace onebit::arch
