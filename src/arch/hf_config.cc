// Reads and writes the sizes and options of a model as Hugging Face's config.json.
#include "arch/hf_config.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {
namespace {

using Json = nlohmann::json;

/// One JSON object of the file, with typed access; null counts as absent, as in transformers.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  bool has(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && !it->is_null();
  }

  std::optional<std::int64_t> get_int(const char* key) const {
    const Json* value = find(key, "an integer", &Json::is_number_integer);
    if (value == nullptr) return std::nullopt;
    if (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX) {
      fail(ErrorCode::kCorrupt, key, value->dump(), "a smaller integer");
    }
    return value->get<std::int64_t>();
  }

  std::int64_t require_int(const char* key) const {
    const auto value = get_int(key);
    if (!value) fail(ErrorCode::kCorrupt, key, "nothing", "an integer");
    return *value;
  }

  std::optional<double> get_number(const char* key) const {
    const Json* value = find(key, "a number", &Json::is_number);
    return value == nullptr ? std::nullopt : std::optional(value->get<double>());
  }

  double require_number(const char* key) const {
    const auto value = get_number(key);
    if (!value) fail(ErrorCode::kCorrupt, key, "nothing", "a number");
    return *value;
  }

  bool get_bool(const char* key, bool otherwise) const {
    const Json* value = find(key, "true or false", &Json::is_boolean);
    return value == nullptr ? otherwise : value->get<bool>();
  }

  std::optional<std::string> get_string(const char* key) const {
    const Json* value = find(key, "a string", &Json::is_string);
    return value == nullptr ? std::nullopt : std::optional(value->get<std::string>());
  }

  /// The object under `key`; present, or an empty one.
  Object get_object(const char* key) const {
    static const Json empty = Json::object();
    const Json* value = find(key, "an object", &Json::is_object);
    return {value == nullptr ? empty : *value, fmt::format("{}: {}", where_, key)};
  }

  [[noreturn]] void fail(ErrorCode code, std::string_view key, std::string_view found,
                         std::string_view expected) const {
    throw Error(code, fmt::format("{}: {}: found {}, expected {}", where_, key, found, expected));
  }

 private:
  const Json* find(const char* key, std::string_view expected,
                   bool (Json::*is_type)() const noexcept) const {
    const auto it = json_.find(key);
    if (it == json_.end() || it->is_null()) return nullptr;
    if (!((*it).*is_type)()) fail(ErrorCode::kCorrupt, key, it->type_name(), expected);
    return &*it;
  }

  const Json& json_;
  std::string where_;
};

RopeConfig read_rope(const Object& config, std::int64_t context) {
  // transformers 5 moves what older files spell `rope_scaling` and `rope_theta` into one object; a
  // file with both is read as it reads it: `rope_scaling` wins.
  const char* key = config.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const Object parameters = config.get_object(key);
  RopeConfig rope;
  rope.theta = parameters.get_number("rope_theta")
                   .value_or(config.get_number("rope_theta").value_or(rope.theta));
  const double part = parameters.get_number("partial_rotary_factor")
                          .value_or(config.get_number("partial_rotary_factor").value_or(1.0));
  if (part != 1.0) {
    config.fail(ErrorCode::kUnsupported, "partial_rotary_factor", fmt::to_string(part), "1");
  }
  const char* type_key = parameters.has("rope_type") ? "rope_type" : "type";
  const std::string type = parameters.get_string(type_key).value_or("default");
  if (type == "default") return rope;
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = parameters.require_number("factor");
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
    rope.factor = parameters.require_number("factor");
    rope.low_freq_factor = parameters.require_number("low_freq_factor");
    rope.high_freq_factor = parameters.require_number("high_freq_factor");
    rope.original_context =
        parameters.get_int("original_max_position_embeddings").value_or(context);
  } else {
    parameters.fail(ErrorCode::kUnsupported, type_key, file::in_quotes(type),
                    "'default', 'linear' or 'llama3'");
  }
  return rope;
}

void check_options(const Object& config) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (config.get_bool(key, false)) config.fail(ErrorCode::kUnsupported, key, "true", "false");
  }
  const std::string act = config.get_string("hidden_act").value_or("silu");
  if (act != "silu") {
    config.fail(ErrorCode::kUnsupported, "hidden_act", file::in_quotes(act), "'silu'");
  }
  if (config.has("quantization_config")) {
    config.fail(ErrorCode::kUnsupported, "quantization_config", "quantised weights",
                "full-precision weights");
  }
}

}  // namespace

ModelConfig parse_hf_config(std::string_view json, std::string_view where) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found {}, expected a JSON object", where,
                            root.is_discarded() ? "text that is not JSON" : root.type_name()));
  }
  const Object object(root, std::string(where));
  const auto type = object.get_string("model_type");
  if (!type) object.fail(ErrorCode::kCorrupt, "model_type", "nothing", "a string");
  ModelConfig config;
  try {
    config.arch = &arch_by_hf_model_type(*type);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", where, error.what()));
  }
  check_options(object);
  config.vocab = object.require_int("vocab_size");
  config.dim = object.require_int("hidden_size");
  config.layers = object.require_int("num_hidden_layers");
  config.heads = object.require_int("num_attention_heads");
  config.kv_heads = object.get_int("num_key_value_heads").value_or(config.heads);
  config.ffn = object.require_int("intermediate_size");
  if (const auto head_dim = object.get_int("head_dim")) {
    config.head_dim = *head_dim;
  } else if (config.heads < 1 || config.dim % config.heads != 0) {
    object.fail(ErrorCode::kCorrupt, "num_attention_heads", fmt::to_string(config.heads),
                fmt::format("a divisor of hidden_size {}", config.dim));
  } else {
    config.head_dim = config.dim / config.heads;
  }
  config.context = object.get_int("max_position_embeddings").value_or(2048);
  config.norm_eps = object.get_number("rms_norm_eps").value_or(1e-6);
  config.tied_head = object.get_bool("tie_word_embeddings", false);
  config.rope = read_rope(object, config.context);
  validate(config, where);
  return config;
}

std::string hf_config_json(const ModelConfig& config, std::string_view dtype) {
  if (!config.rope.factors.empty()) {
    throw Error(ErrorCode::kUnsupported,
                "config.json: rotary frequency factors: found a table, expected the parameters of "
                "a scaling that Hugging Face's format can name");
  }
  // The older spelling of the rotary options: transformers 4 and 5 both read it.
  nlohmann::ordered_json scaling = nullptr;
  if (config.rope.scaling == RopeScaling::kLinear) {
    scaling = {{"rope_type", "linear"}, {"factor", config.rope.factor}};
  } else if (config.rope.scaling == RopeScaling::kLlama3) {
    scaling = {{"rope_type", "llama3"},
               {"factor", config.rope.factor},
               {"low_freq_factor", config.rope.low_freq_factor},
               {"high_freq_factor", config.rope.high_freq_factor},
               {"original_max_position_embeddings", config.rope.original_context}};
  }
  const nlohmann::ordered_json json = {
      {"architectures", {config.arch->hf_architecture}},
      {"model_type", config.arch->hf_model_type},
      {"vocab_size", config.vocab},
      {"hidden_size", config.dim},
      {"intermediate_size", config.ffn},
      {"num_hidden_layers", config.layers},
      {"num_attention_heads", config.heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"hidden_act", "silu"},
      {"max_position_embeddings", config.context},
      {"rms_norm_eps", config.norm_eps},
      {"rope_theta", config.rope.theta},
      {"rope_scaling", scaling},
      {"tie_word_embeddings", config.tied_head},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"torch_dtype", dtype},
  };
  return json.dump(2) + "\n";
}

}  // namespace onebit::arch
