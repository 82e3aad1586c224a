// config.json, rotary frequencies against transformers, sizes against the paper.
#include "arch/model_config.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/hf_config.h"
#include "arch/size_table.h"
#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::arch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// Distance in units in the last place of two positive floats.
std::int64_t ulps(float a, float b) {
  return std::abs(static_cast<std::int64_t>(std::bit_cast<std::int32_t>(a)) -
                  static_cast<std::int64_t>(std::bit_cast<std::int32_t>(b)));
}

Json tiny_json() { return Json::parse(hf_config_json(test_models::tiny_config(), "float32")); }

/// The error that parsing gives.
std::pair<ErrorCode, std::string> parse_error(const Json& json) {
  try {
    parse_hf_config(json.dump(), "x/config.json");
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "accepted: " << json.dump();
  return {};
}

TEST(RopeFrequencies, EqualTransformersInEverySpelling) {
  const Json golden = Json::parse(read_file(testing::golden("rope/frequencies.json")));
  ASSERT_EQ(golden["cases"].size(), 9U);
  for (const Json& item : golden["cases"]) {
    SCOPED_TRACE(item["name"].get<std::string>());
    const ModelConfig config = parse_hf_config(item["config"].dump(), "golden");
    const auto expected = item["frequencies"].get<std::vector<float>>();
    const std::vector<float> found = rope_frequencies(config);
    ASSERT_EQ(found.size(), expected.size());
    // torch's vectorised pow and the C library's differ by one unit in the last place, and
    // 1 / pow and the scalings keep that difference below two.
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_LE(ulps(found[i], expected[i]), 2) << "pair " << i;
    }
  }
}

TEST(RopeFrequencies, FactorsGiveLlama3ScalingBack) {
  const Json golden = Json::parse(read_file(testing::golden("rope/frequencies.json")));
  for (const Json& item : golden["cases"]) {
    SCOPED_TRACE(item["name"].get<std::string>());
    const ModelConfig config = parse_hf_config(item["config"].dump(), "golden");
    ModelConfig read_back = config;
    read_back.rope.factors = rope_factors(config);
    if (config.rope.scaling != RopeScaling::kLlama3) {
      EXPECT_TRUE(read_back.rope.factors.empty());
      continue;
    }
    read_back.rope.scaling = RopeScaling::kNone;
    const std::vector<float> expected = rope_frequencies(config);
    const std::vector<float> found = rope_frequencies(read_back);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_LE(ulps(found[i], expected[i]), 1) << "pair " << i;
    }
    EXPECT_EQ(read_back.rope.factors.front(), 1.0F) << "short waves are left alone";
    EXPECT_EQ(read_back.rope.factors.back(), static_cast<float>(config.rope.factor));
  }
}

TEST(HfConfig, ReadsWhatItWrites) {
  ModelConfig config = test_models::tiny_config();
  config.rope.theta = 500000.0;
  config.rope.scaling = RopeScaling::kLlama3;
  config.rope.factor = 8.0;
  config.rope.original_context = 32;
  for (const bool tied : {false, true}) {
    config.tied_head = tied;
    const ModelConfig found = parse_hf_config(hf_config_json(config, "float32"), "x");
    EXPECT_EQ(found.arch, config.arch);
    EXPECT_EQ(found.vocab, 37);
    EXPECT_EQ(found.dim, 42);
    EXPECT_EQ(found.layers, 2);
    EXPECT_EQ(found.heads, 6);
    EXPECT_EQ(found.kv_heads, 2);
    EXPECT_EQ(found.head_dim, 10);
    EXPECT_EQ(found.query_dim(), 60);
    EXPECT_EQ(found.kv_dim(), 20);
    EXPECT_EQ(found.ffn, 70);
    EXPECT_EQ(found.context, 64);
    EXPECT_EQ(found.norm_eps, 1e-5);
    EXPECT_EQ(found.tied_head, tied);
    EXPECT_EQ(found.rope.theta, 500000.0);
    EXPECT_EQ(found.rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(found.rope.factor, 8.0);
    EXPECT_EQ(found.rope.low_freq_factor, 1.0);
    EXPECT_EQ(found.rope.high_freq_factor, 4.0);
    EXPECT_EQ(found.rope.original_context, 32);
  }
}

TEST(HfConfig, AbsentAndNullKeysTakeTransformersDefaults) {
  const ModelConfig config = parse_hf_config(
      R"({"model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "head_dim": null,
          "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
          "num_key_value_heads": null})",
      "x");
  EXPECT_EQ(config.kv_heads, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.context, 2048);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_FALSE(config.tied_head);
}

TEST(HfConfig, NamesTheOptionThatIsNotHandled) {
  const std::pair<const char*, Json> cases[] = {
      {"attention_bias", true},
      {"mlp_bias", true},
      {"hidden_act", "gelu"},
      {"partial_rotary_factor", 0.5},
      {"quantization_config", Json{{"quant_method", "gptq"}}},
      {"rope_scaling", Json{{"type", "dynamic"}, {"factor", 2.0}}},
      {"rope_scaling", Json{{"rope_type", "yarn"}, {"factor", 2.0}}},
      {"model_type", "gpt_neox"},
  };
  for (const auto& [key, value] : cases) {
    Json json = tiny_json();
    json[key] = value;
    const auto [code, message] = parse_error(json);
    EXPECT_EQ(code, ErrorCode::kUnsupported) << message;
    EXPECT_THAT(message, AllOf(HasSubstr("x/config.json"), HasSubstr(key)));
  }
  Json yarn = tiny_json();
  yarn.erase("rope_scaling");
  yarn["rope_parameters"] = {{"rope_type", "yarn"}, {"rope_theta", 1e4}};
  EXPECT_EQ(parse_error(yarn).second,
            "x/config.json: rope_parameters: rope_type: found 'yarn', expected 'default', 'linear' "
            "or 'llama3'");
}

TEST(HfConfig, RejectsWrongTypesAndContradictions) {
  const std::pair<const char*, Json> cases[] = {
      {"hidden_size", "42"},
      {"hidden_size", 42.5},
      {"hidden_size", nullptr},
      {"hidden_size", 0},
      {"hidden_size", -42},
      {"hidden_size", 18446744073709551615ULL},
      {"vocab_size", std::int64_t{1} << 40},
      {"num_hidden_layers", 1 << 20},
      {"num_attention_heads", 5},  // no multiple of the 2 key/value heads
      {"num_key_value_heads", 0},
      {"num_key_value_heads", 12},  // more than query heads
      {"head_dim", 5},              // odd
      {"head_dim", std::int64_t{1} << 62},
      {"max_position_embeddings", 0},
      {"rms_norm_eps", 0.0},
      {"rms_norm_eps", "1e-5"},
      {"rope_theta", -1.0},
      {"rope_theta", 1e300},  // not finite in f32
      {"tie_word_embeddings", 1},
      {"rope_scaling", "linear"},
      {"rope_scaling", Json{{"type", "linear"}}},  // no factor
      {"rope_scaling", Json{{"type", "linear"}, {"factor", 0.0}}},
      {"rope_scaling", Json{{"type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 4.0},
                            {"high_freq_factor", 1.0}}},
  };
  for (const auto& [key, value] : cases) {
    Json json = tiny_json();
    json[key] = value;
    EXPECT_EQ(parse_error(json).first, ErrorCode::kCorrupt) << key << ": " << value.dump();
  }
  Json missing = tiny_json();
  missing.erase("hidden_size");
  EXPECT_EQ(parse_error(missing).second,
            "x/config.json: hidden_size: found nothing, expected an integer");
  EXPECT_EQ(parse_error(Json::array()).first, ErrorCode::kCorrupt);
  EXPECT_THROW(parse_hf_config("{\"model_type\":", "x"), Error);
  EXPECT_THROW(parse_hf_config("", "x"), Error);
}

TEST(ArchSpec, EveryArchitectureHasEveryTensorOnce) {
  for (const ArchSpec* arch : all_archs()) {
    EXPECT_EQ(&arch_by_gguf_name(arch->gguf_name), arch);
    EXPECT_EQ(&arch_by_hf_model_type(arch->hf_model_type), arch);
    for (const TensorSpec& tensor : arch->tensors) {
      EXPECT_EQ(find_tensor(*arch, tensor.role), &tensor) << tensor.name << " is listed twice";
      EXPECT_EQ(tensor.per_layer, tensor.gguf.find("{}") != std::string_view::npos);
      EXPECT_EQ(tensor.per_layer, tensor.hf.find("{}") != std::string_view::npos);
    }
    for (const Role role : {Role::kTokenEmbedding, Role::kOutputNorm, Role::kOutput}) {
      EXPECT_NE(find_tensor(*arch, role), nullptr);
    }
  }
  const TensorSpec& q = *find_tensor(arch_by_gguf_name("llama"), Role::kAttnQ);
  EXPECT_EQ(gguf_name(q, 3), "blk.3.attn_q");
  EXPECT_EQ(hf_name(q, 3), "model.layers.3.self_attn.q_proj");
  EXPECT_THROW(arch_by_gguf_name("qwen99"), Error);
}

TEST(TensorIds, ListsAllInFileOrder) {
  ModelConfig config = test_models::tiny_config();
  const std::vector<TensorId> ids = tensor_ids(config);
  ASSERT_EQ(ids.size(), 1U + 2 * 9 + 2);
  EXPECT_EQ(ids.front(), (TensorId{Role::kTokenEmbedding, -1}));
  EXPECT_EQ(ids[1], (TensorId{Role::kAttnNorm, 0}));
  EXPECT_EQ(ids[9], (TensorId{Role::kFfnDown, 0}));
  EXPECT_EQ(ids[10], (TensorId{Role::kAttnNorm, 1}));
  EXPECT_EQ(ids.back(), (TensorId{Role::kOutput, -1}));
  config.tied_head = true;
  EXPECT_EQ(tensor_ids(config).back(), (TensorId{Role::kOutputNorm, -1}));
}

ModelConfig llama(std::int64_t dim, std::int64_t layers, std::int64_t heads, std::int64_t ffn) {
  ModelConfig config;
  config.arch = &arch_by_gguf_name("llama");
  config.vocab = 32000;
  config.dim = dim;
  config.layers = layers;
  config.heads = heads;
  config.kv_heads = heads;
  config.head_dim = dim / heads;
  config.ffn = ffn;
  config.context = 2048;
  validate(config);
  return config;
}

TEST(ParameterCount, Llama7BByHand) {
  const ParameterCount count = count_parameters(llama(4096, 32, 32, 11008));
  EXPECT_EQ(count.linear, 32LL * (4 * 4096 * 4096 + 3 * 4096 * 11008));
  EXPECT_EQ(count.linear_in, 32LL * (6 * 4096 + 11008));
  EXPECT_EQ(count.linear_out, 32LL * (5 * 4096 + 2 * 11008));
  EXPECT_EQ(count.embedding, 32000LL * 4096);
  EXPECT_EQ(count.head, 32000LL * 4096);
  EXPECT_EQ(count.norms, 65LL * 4096);
  EXPECT_EQ(count.total(), 6'738'415'616LL);
}

// The table of compression ratios of arXiv 2402.11295 (1 GB = 10^9 bytes). Its sizes are ours to
// the digit shown. Its percentages follow from its own rounded sizes, not from the exact ones
// (7B: 90.4 against 90.1), but for 65B, where both give 93.0 and the paper prints 93.4. The sizes
// are recorded in the test's report: tools/accept/sizes.py prints them beside the paper's.
TEST(SizeTable, EqualsThePapers) {
  struct Row {
    const char* name;
    ModelConfig config;
    double full_gb;
    double one_bit_gb;
    double rounded_ratio;  ///< percent saved, from the paper's two sizes
    double exact_ratio;    ///< percent saved
  };
  const Row rows[] = {
      {"7B", llama(4096, 32, 32, 11008), 13.5, 1.3, 90.4, 90.062},
      {"13B", llama(5120, 40, 40, 13824), 26.0, 2.2, 91.5, 91.357},
      {"30B", llama(6656, 60, 52, 17920), 65.1, 4.9, 92.5, 92.497},
      {"65B", llama(8192, 80, 64, 22016), 130.6, 9.2, 93.0, 92.976},
  };
  for (const Row& row : rows) {
    RecordProperty(std::string("full_") + row.name,
                   std::to_string(bytes_full_precision(row.config)));
    RecordProperty(std::string("one_bit_") + row.name, std::to_string(bytes_one_bit(row.config)));
    const double full = static_cast<double>(bytes_full_precision(row.config)) / 1e9;
    const double one_bit = static_cast<double>(bytes_one_bit(row.config)) / 1e9;
    EXPECT_NEAR(full, row.full_gb, 0.05) << row.name;
    EXPECT_NEAR(one_bit, row.one_bit_gb, 0.05) << row.name;
    EXPECT_NEAR(100 * (1 - one_bit / full), row.exact_ratio, 0.0005) << row.name;
    EXPECT_NEAR(100 * (1 - row.one_bit_gb / row.full_gb), row.rounded_ratio, 0.05) << row.name;
  }
}

}  // namespace
}  // namespace onebit::arch
