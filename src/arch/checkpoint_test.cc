// Checkpoints: both file formats give the same model, and what is wrong with a file is named.
#include "arch/checkpoint.h"

#include <cmath>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "arch/checkpoint_impl.h"
#include "arch/test_models.h"
#include "base/error.h"
#include "base/sha256.h"
#include "base/test_paths.h"

namespace onebit::arch {
namespace {

using test_models::TinyModel;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<float> read(const Checkpoint& model, const TensorId& id) {
  const TensorSpec& spec = *find_tensor(*model.config().arch, id.role);
  std::vector<float> values(*formats::element_count(shape_of(model.config(), spec)));
  model.read_f32(id.role, id.layer, values);
  return values;
}

std::pair<ErrorCode, std::string> open_error(const std::filesystem::path& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "opened: " << path;
  return {};
}

/// Rewrites a GGUF file: each callback may change a key's value or drop it, and likewise a tensor's
/// declared shape and type (bytes are cut or filled with zeros to fit) or drop it.
struct Edit {
  std::function<bool(std::string_view, file::GgufValue&)> key =
      [](std::string_view, file::GgufValue&) { return true; };
  std::function<bool(std::string&, formats::DType&, formats::Shape&, std::vector<std::byte>&)>
      tensor = [](auto&, auto&, auto&, auto&) { return true; };
  Metadata added_keys;
};

void rewrite(const std::filesystem::path& from, const std::filesystem::path& to, const Edit& edit) {
  const auto gguf = file::GgufFile::open(from);
  file::GgufWriter writer(to);
  for (auto [key, value] : gguf.metadata()) {
    if (edit.key(key, value)) writer.set(key, value);
  }
  for (const auto& [key, value] : edit.added_keys) writer.set(key, value);
  std::vector<std::pair<std::string, std::vector<std::byte>>> contents;
  for (const file::GgufTensor& tensor : gguf.tensors()) {
    std::string name = tensor.name;
    formats::DType type = tensor.view.dtype;
    formats::Shape shape = tensor.view.shape;
    std::vector<std::byte> bytes(tensor.view.data.begin(), tensor.view.data.end());
    if (!edit.tensor(name, type, shape, bytes)) continue;
    bytes.resize(*formats::byte_count(type, shape));
    writer.declare(name, type, shape);
    contents.emplace_back(std::move(name), std::move(bytes));
  }
  for (const auto& [name, bytes] : contents) writer.write(name, bytes);
  writer.finish();
}

TEST(RopeSourceRow, IsTheConvertersPermutation) {
  // llama.cpp's permute: reshape(heads, 2, head_dim/2, in).swapaxes(1, 2).
  constexpr std::int64_t kHeads = 3;
  constexpr std::int64_t kHalf = 5;
  for (std::int64_t head = 0; head < kHeads; ++head) {
    for (std::int64_t i = 0; i < kHalf; ++i) {
      for (std::int64_t half = 0; half < 2; ++half) {
        const std::int64_t result = (head * kHalf + i) * 2 + half;
        const std::int64_t stored = (head * 2 + half) * kHalf + i;
        EXPECT_EQ(rope_source_row(result, 2 * kHalf), stored);
      }
    }
  }
}

class TinyCheckpoint : public ::testing::Test {
 protected:
  TinyCheckpoint() : model_(test_models::random_model(test_models::tiny_config(), 1)) {}

  void expect_weights(const Checkpoint& found, const TinyModel& expected) {
    for (const TensorId& id : tensor_ids(expected.config)) {
      EXPECT_EQ(read(found, id), expected.weights.at(id))
          << gguf_name(*find_tensor(*expected.config.arch, id.role), id.layer);
    }
  }

  testing::TempDir dir_;
  TinyModel model_;
};

TEST_F(TinyCheckpoint, BothFormatsGiveTheCanonicalWeights) {
  for (const bool tied : {false, true}) {
    ModelConfig config = test_models::tiny_config();
    config.tied_head = tied;
    const TinyModel model = test_models::random_model(config, 2);
    test_models::write_hf(model, dir_ / "hf");
    test_models::write_gguf(model, dir_ / "m.gguf");
    for (const auto& path : {dir_ / "hf", dir_ / "m.gguf"}) {
      SCOPED_TRACE(path.string());
      const Checkpoint found = Checkpoint::open(path);
      expect_weights(found, model);
      EXPECT_EQ(found.config().tied_head, tied);
      EXPECT_EQ(found.config().head_dim, 10);
      EXPECT_EQ(found.config().context, 64);
      EXPECT_FALSE(found.provenance().has_value());
      EXPECT_FALSE(found.one_bit(Role::kAttnQ, 0).has_value());
      EXPECT_EQ(found.dense(Role::kOutput, -1).has_value(), !tied);
      EXPECT_EQ(found.dense(Role::kAttnQ, 1)->permute_rows, path == dir_ / "hf");
      EXPECT_FALSE(found.dense(Role::kAttnV, 1)->permute_rows);
      found.release(Role::kAttnQ, 0);
      EXPECT_EQ(read(found, {Role::kAttnQ, 0}), model.weights.at({Role::kAttnQ, 0}));
    }
    EXPECT_EQ(Checkpoint::open(dir_ / "hf").name(), "hf");
    EXPECT_EQ(Checkpoint::open(dir_ / "hf/").name(), "hf");
    EXPECT_EQ(Checkpoint::open(dir_ / "m.gguf").name(), "tiny");
  }
}

TEST_F(TinyCheckpoint, HalfPrecisionTypesRoundOnce) {
  for (const auto type : {formats::DType::kF16, formats::DType::kBF16}) {
    test_models::write_hf(model_, dir_ / "hf", type);
    test_models::write_gguf(model_, dir_ / "m.gguf", type);
    const Checkpoint hf = Checkpoint::open(dir_ / "hf");
    const Checkpoint gguf = Checkpoint::open(dir_ / "m.gguf");
    for (const TensorId& id : tensor_ids(model_.config)) {
      if (find_tensor(*model_.config.arch, id.role)->cols == Dim::kNone) continue;
      const std::vector<float> found = read(hf, id);
      EXPECT_EQ(found, read(gguf, id));
      const double ulp = type == formats::DType::kF16 ? 0x1p-11 : 0x1p-8;
      for (std::size_t i = 0; i < found.size(); ++i) {
        const float expected = model_.weights.at(id)[i];
        ASSERT_NEAR(found[i], expected, std::abs(expected) * ulp + 0x1p-25);
      }
    }
  }
}

TEST_F(TinyCheckpoint, RopeScalingIsTheSameFromBothFormats) {
  ModelConfig config = test_models::tiny_config();
  config.rope.scaling = RopeScaling::kLlama3;
  config.rope.factor = 8.0;
  config.rope.original_context = 32;
  TinyModel model{config, model_.weights};
  test_models::write_hf(model, dir_ / "hf");
  test_models::write_gguf(model, dir_ / "m.gguf");
  const auto expected = rope_frequencies(config);
  EXPECT_EQ(rope_frequencies(Checkpoint::open(dir_ / "hf").config()), expected);
  const auto found = rope_frequencies(Checkpoint::open(dir_ / "m.gguf").config());
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_FLOAT_EQ(found[i], expected[i]);

  model.config.rope.scaling = RopeScaling::kLinear;
  test_models::write_hf(model, dir_ / "hf");
  test_models::write_gguf(model, dir_ / "m.gguf");
  const auto linear = rope_frequencies(model.config);
  EXPECT_EQ(rope_frequencies(Checkpoint::open(dir_ / "hf").config()), linear);
  EXPECT_EQ(rope_frequencies(Checkpoint::open(dir_ / "m.gguf").config()), linear);
}

/// llama-model.cpp's load_hparams and llama-context.cpp: an absent type is linear, "none" never
/// scales, the old key counts only without the new one.
TEST_F(TinyCheckpoint, RopeScalingKeysMeanWhatLlamaCppReads) {
  test_models::write_gguf(model_, dir_ / "m.gguf");
  const auto f32 = [](float v) { return file::GgufValue{v}; };
  const std::pair<const char*, file::GgufValue> none{"llama.rope.scaling.type",
                                                     {std::string("none")}};
  const std::pair<const char*, file::GgufValue> linear{"llama.rope.scaling.type",
                                                       {std::string("linear")}};
  const auto factor = [&](float v) { return std::pair("llama.rope.scaling.factor", f32(v)); };
  const auto old = [&](float v) { return std::pair("llama.rope.scale_linear", f32(v)); };
  const auto attention = std::pair("llama.rope.scaling.attn_factor", f32(1));
  const std::pair<std::vector<std::pair<const char*, file::GgufValue>>, double> cases[] = {
      {{}, 1},
      {{factor(4)}, 4},
      {{old(2)}, 2},
      {{factor(4), old(2)}, 4},
      {{factor(0), old(2)}, 1},
      {{linear}, 1},
      {{linear, factor(4)}, 4},
      {{linear, old(2)}, 2},
      {{linear, old(2), attention}, 2},
      {{none, factor(4)}, 1},
      {{none, old(2)}, 1},
  };
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    SCOPED_TRACE(i);
    const auto& [keys, expected] = cases[i];
    Edit edit;
    edit.added_keys.assign(keys.begin(), keys.end());
    rewrite(dir_ / "m.gguf", dir_ / "scaled.gguf", edit);
    ModelConfig config = model_.config;
    if (expected != 1) {
      config.rope.scaling = RopeScaling::kLinear;
      config.rope.factor = expected;
    }
    EXPECT_EQ(rope_frequencies(Checkpoint::open(dir_ / "scaled.gguf").config()),
              rope_frequencies(config));
  }
}

TEST_F(TinyCheckpoint, HashAndSizeAreTheWeightFiles) {
  test_models::write_hf(model_, dir_ / "hf");
  test_models::write_gguf(model_, dir_ / "m.gguf");
  const std::pair<std::filesystem::path, std::filesystem::path> cases[] = {
      {dir_ / "hf", dir_ / "hf" / "model.safetensors"}, {dir_ / "m.gguf", dir_ / "m.gguf"}};
  for (const auto& [path, weights] : cases) {
    const std::string bytes = read_file(weights);
    Sha256 hash;
    hash.update(std::as_bytes(std::span(bytes)));
    const Checkpoint found = Checkpoint::open(path);
    EXPECT_EQ(found.sha256(), hash.hex());
    EXPECT_EQ(found.file_bytes(), bytes.size());
    EXPECT_EQ(found.identity() == found.sha256(), path == dir_ / "m.gguf");
  }
}

TEST_F(TinyCheckpoint, IdentityIsOfSettingsToo) {
  test_models::write_hf(model_, dir_ / "hf");
  const Checkpoint before = Checkpoint::open(dir_ / "hf");
  nlohmann::json config = nlohmann::json::parse(read_file(dir_ / "hf" / "config.json"));
  config["rope_theta"] = config.value("rope_theta", 10000.0) * 2;
  write_file(dir_ / "hf" / "config.json", config.dump());
  const Checkpoint after = Checkpoint::open(dir_ / "hf");
  EXPECT_EQ(after.sha256(), before.sha256());
  EXPECT_NE(after.identity(), before.identity());
}

TEST_F(TinyCheckpoint, SaysWhatAPathIsNot) {
  EXPECT_EQ(open_error(dir_ / "none").first, ErrorCode::kNotFound);
  write_file(dir_ / "text.txt", "hello");
  std::filesystem::create_directory(dir_ / "empty");
  for (const char* name : {"text.txt", "empty"}) {
    const auto [code, message] = open_error(dir_ / name);
    EXPECT_EQ(code, ErrorCode::kUnsupported);
    EXPECT_EQ(message,
              (dir_ / name).string() + " is neither a GGUF file nor a folder with config.json");
  }
  test_models::write_hf(model_, dir_ / "hf");
  std::filesystem::remove(dir_ / "hf" / "model.safetensors");
  EXPECT_THAT(open_error(dir_ / "hf").second, HasSubstr("model.safetensors"));
}

TEST_F(TinyCheckpoint, MissingAndMisshapenTensorsAreNamed) {
  test_models::write_gguf(model_, dir_ / "m.gguf");
  Edit drop;
  drop.tensor = [](std::string& name, auto&, auto&, auto&) {
    return name != "blk.1.ffn_up.weight";
  };
  rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", drop);
  auto [code, message] = open_error(dir_ / "bad.gguf");
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_EQ(message, (dir_ / "bad.gguf").string() +
                         ": tensor blk.1.ffn_up.weight is absent, expected with shape [70, 42]");

  Edit reshape;
  reshape.tensor = [](std::string& name, auto&, formats::Shape& shape, auto&) {
    if (name == "blk.0.attn_k.weight") shape = {42, 20};
    return true;
  };
  rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", reshape);
  std::tie(code, message) = open_error(dir_ / "bad.gguf");
  EXPECT_EQ(code, ErrorCode::kCorrupt);
  EXPECT_EQ(message, (dir_ / "bad.gguf").string() +
                         ": tensor blk.0.attn_k.weight: found shape [42, 20], expected [20, 42]");

  Edit bias;
  bias.tensor = [](std::string& name, auto&, auto&, auto&) {
    if (name == "blk.0.attn_norm.weight") name = "blk.0.attn_q.bias";
    return true;
  };
  rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", bias);
  EXPECT_EQ(open_error(dir_ / "bad.gguf").first, ErrorCode::kNotFound);

  // One layer fewer than the file holds: its tensors would be ignored silently.
  Edit fewer;
  fewer.key = [](std::string_view key, file::GgufValue& value) {
    if (key == "llama.block_count") value.value = std::uint32_t{1};
    return true;
  };
  rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", fewer);
  std::tie(code, message) = open_error(dir_ / "bad.gguf");
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_THAT(message, HasSubstr("'blk.1."));
}

TEST_F(TinyCheckpoint, HuggingFaceFoldersAreCheckedToo) {
  TinyModel deeper = model_;
  deeper.config.layers = 3;
  test_models::write_hf(model_, dir_ / "hf");
  write_file(dir_ / "hf" / "config.json", hf_config_json(deeper.config, "float32"));
  auto [code, message] = open_error(dir_ / "hf");
  EXPECT_EQ(code, ErrorCode::kNotFound);
  EXPECT_THAT(message,
              AllOf(HasSubstr("model.layers.2.input_layernorm.weight"), HasSubstr("[42]")));

  ModelConfig wider = model_.config;
  wider.ffn = 71;
  write_file(dir_ / "hf" / "config.json", hf_config_json(wider, "float32"));
  std::tie(code, message) = open_error(dir_ / "hf");
  EXPECT_EQ(code, ErrorCode::kCorrupt);
  EXPECT_THAT(message,
              HasSubstr("model.layers.0.mlp.gate_proj.weight: found shape [70, 42], expected "
                        "[71, 42]"));

  ModelConfig shallower = model_.config;
  shallower.layers = 1;
  write_file(dir_ / "hf" / "config.json", hf_config_json(shallower, "float32"));
  EXPECT_EQ(open_error(dir_ / "hf").first, ErrorCode::kUnsupported);
}

TEST_F(TinyCheckpoint, GgufKeysOfWrongTypesOrMeaningsAreNamed) {
  test_models::write_gguf(model_, dir_ / "m.gguf");
  const auto u32 = [](std::uint32_t v) { return file::GgufValue{v}; };
  const auto str = [](const char* v) { return file::GgufValue{std::string(v)}; };
  const std::tuple<const char*, file::GgufValue, ErrorCode> cases[] = {
      {"general.architecture", str("mamba"), ErrorCode::kUnsupported},
      {"general.architecture", u32(1), ErrorCode::kCorrupt},
      {"llama.embedding_length", str("42"), ErrorCode::kCorrupt},
      {"llama.embedding_length", u32(43), ErrorCode::kCorrupt},
      {"llama.block_count", u32(0), ErrorCode::kCorrupt},
      {"llama.attention.head_count", u32(5), ErrorCode::kCorrupt},
      {"llama.attention.value_length", u32(12), ErrorCode::kUnsupported},
      {"llama.rope.dimension_count", u32(4), ErrorCode::kUnsupported},
      {"llama.rope.freq_base", str("x"), ErrorCode::kCorrupt},
      {"llama.vocab_size", u32(38), ErrorCode::kCorrupt},
      {"llama.expert_count", u32(8), ErrorCode::kUnsupported},
      {"llama.rope.scaling.type", str("yarn"), ErrorCode::kUnsupported},
      {"llama.rope.scaling.factor", file::GgufValue{-2.0F}, ErrorCode::kCorrupt},
      {"llama.rope.scaling.attn_factor", file::GgufValue{1.5F}, ErrorCode::kUnsupported},
  };
  for (const auto& [key, value, expected] : cases) {
    Edit edit;
    edit.added_keys = {{key, value}};
    rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", edit);
    const auto [code, message] = open_error(dir_ / "bad.gguf");
    EXPECT_EQ(code, expected) << message;
  }
  Edit drop;
  drop.key = [](std::string_view key, auto&) { return key != "llama.feed_forward_length"; };
  rewrite(dir_ / "m.gguf", dir_ / "bad.gguf", drop);
  EXPECT_THAT(open_error(dir_ / "bad.gguf").second, HasSubstr("llama.feed_forward_length"));
}

TEST_F(TinyCheckpoint, TokenizerIsThereOrItsAbsenceIsSaid) {
  test_models::write_gguf(model_, dir_ / "without.gguf");
  test_models::write_hf(model_, dir_ / "hf");
  for (const auto& path : {dir_ / "without.gguf", dir_ / "hf"}) {
    const Checkpoint found = Checkpoint::open(path);
    EXPECT_FALSE(found.tokenizer_data().has_value());
    EXPECT_EQ(found.chat_template(), "");
    try {
      found.tokenizer();
      ADD_FAILURE() << "a tokenizer from nothing";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNotFound);
      EXPECT_EQ(error.what(), path.string() + ": the model has no tokenizer");
    }
  }
  test_models::write_gguf(model_, dir_ / "with.gguf", formats::DType::kF32, /*tokenizer=*/true);
  const Checkpoint found = Checkpoint::open(dir_ / "with.gguf");
  const text::Tokenizer& tokenizer = found.tokenizer();
  EXPECT_EQ(&tokenizer, &found.tokenizer());
  EXPECT_EQ(tokenizer.vocab_size(), 37);
  EXPECT_EQ(tokenizer.encode("the", {}), (std::vector<text::TokenId>{1, 32}));
}

TEST_F(TinyCheckpoint, UnusedTokensAreThoseOfThatTypeAndThosePastTheTokenizers) {
  test_models::write_gguf(model_, dir_ / "m.gguf", formats::DType::kF32, /*tokenizer=*/true);
  EXPECT_TRUE(Checkpoint::open(dir_ / "m.gguf").unused_tokens().empty());
  for (const bool typed : {true, false}) {
    Edit edit;
    edit.key = [typed](std::string_view key, file::GgufValue& value) {
      if (key == "tokenizer.ggml.token_type") {
        auto& types = std::get<std::vector<std::int32_t>>(std::get<file::GgufArray>(value.value));
        types.resize(35);
        for (const std::size_t id : {2, 7}) types[id] = 5;  // 2 ends texts
        return typed;
      }
      if (key == "tokenizer.ggml.tokens") {
        std::get<std::vector<std::string>>(std::get<file::GgufArray>(value.value)).resize(35);
      }
      if (key == "tokenizer.ggml.scores") {
        std::get<std::vector<float>>(std::get<file::GgufArray>(value.value)).resize(35);
      }
      return true;
    };
    rewrite(dir_ / "m.gguf", dir_ / "fewer.gguf", edit);
    const Checkpoint found = Checkpoint::open(dir_ / "fewer.gguf");
    const auto unused = found.unused_tokens();
    EXPECT_EQ(
        std::vector(unused.begin(), unused.end()),
        typed ? std::vector<text::TokenId>({7, 35, 36}) : std::vector<text::TokenId>({35, 36}));
    EXPECT_EQ(found.tokenizer().vocab_size(), 37);
  }
}

TEST_F(TinyCheckpoint, ChatTemplateFromEverySpelling) {
  test_models::write_hf(model_, dir_ / "hf");
  const auto found = [this] { return Checkpoint::open(dir_ / "hf").chat_template(); };
  const auto config = dir_ / "hf" / "tokenizer_config.json";
  write_file(config, R"({"chat_template": "one"})");
  EXPECT_EQ(found(), "one");
  write_file(config, R"({"chat_template": [{"name": "rag", "template": "no"},
                                           {"name": "default", "template": "two"}]})");
  EXPECT_EQ(found(), "two");
  write_file(config, R"({"chat_template": [{"name": "rag", "template": "no"}]})");
  EXPECT_THROW(found(), Error);
  write_file(config, "not json");
  EXPECT_THROW(found(), Error);
  write_file(dir_ / "hf" / "chat_template.jinja", "three");
  EXPECT_EQ(found(), "three");
}

TEST(Stories260K, FolderAndGgufAreTheSameModel) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  const Checkpoint gguf = Checkpoint::open(testing::model("stories260k.gguf"));
  const Checkpoint hf = Checkpoint::open(testing::model("stories260k"));
  EXPECT_EQ(gguf.config().dim, 64);
  EXPECT_EQ(gguf.config().layers, 5);
  EXPECT_EQ(gguf.config().kv_heads, 4);
  EXPECT_TRUE(gguf.config().tied_head);
  for (const TensorId& id : tensor_ids(gguf.config())) EXPECT_EQ(read(gguf, id), read(hf, id));
  EXPECT_EQ(rope_frequencies(gguf.config()), rope_frequencies(hf.config()));
  // As llama2.c encodes it.
  const std::vector<text::TokenId> expected = {1, 403, 407, 261, 378};
  EXPECT_EQ(gguf.tokenizer().encode("Once upon a time", {}), expected);
  EXPECT_EQ(hf.tokenizer().encode("Once upon a time", {}), expected);
}

TEST(SmolLM2, OpensWithTokenizerAndTemplate) {
  ONEBIT_REQUIRE_FILE(testing::model("smollm2-135m-instruct.gguf"));
  const Checkpoint model = Checkpoint::open(testing::model("smollm2-135m-instruct.gguf"));
  EXPECT_EQ(model.config().vocab, 49152);
  EXPECT_EQ(model.config().kv_heads, 3);
  EXPECT_EQ(model.config().rope.theta, 100000.0);
  EXPECT_TRUE(model.config().tied_head);
  EXPECT_EQ(count_parameters(model.config()).total(), 134'515'008);
  EXPECT_EQ(model.dense(Role::kFfnDown, 29)->view.dtype, formats::DType::kQ4_1);
  for (const float w : read(model, {Role::kFfnDown, 29})) ASSERT_TRUE(std::isfinite(w));
  EXPECT_THAT(model.chat_template(), HasSubstr("<|im_start|>"));
  EXPECT_EQ(model.tokenizer().vocab_size(), 49152);
}

}  // namespace
}  // namespace onebit::arch
