// Packed files: written and read back in every option, damaged, and read by Python.
#include "arch/packed_writer.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <tuple>

#include "arch/checkpoint_impl.h"
#include "arch/packed_format.h"
#include "arch/test_gguf_change.h"
#include "arch/test_models.h"
#include "base/check.h"
#include "base/error.h"
#include "base/half.h"
#include "base/test_paths.h"

namespace onebit::arch {
namespace {

using formats::DType;
using test_models::TinyModel;
using ::testing::AllOf;
using ::testing::HasSubstr;

using test_models::pack;
using test_models::Packed;
using test_models::write_packed;

/// What a type stores of values.
std::vector<float> stored(DType type, const std::vector<float>& values) {
  std::vector<float> result(values.size());
  formats::dequantize(type, test_models::encode(type, values), result);
  return result;
}

void expect_packed(const Checkpoint& found, const TinyModel& model, const PackOptions& options) {
  for (const TensorId& id : tensor_ids(model.config)) {
    const TensorSpec& spec = *find_tensor(*model.config.arch, id.role);
    SCOPED_TRACE(gguf_name(spec, id.layer));
    if (spec.linear && !options.dense.contains(id)) {
      const Packed expected = pack(model, id, options.provenance);
      EXPECT_EQ(found.one_bit(id.role, id.layer)->group_size, options.provenance.group_size);
      const auto matrix = found.one_bit(id.role, id.layer);
      ASSERT_TRUE(matrix.has_value());
      EXPECT_FALSE(found.dense(id.role, id.layer).has_value());
      EXPECT_EQ((formats::Shape{matrix->sign.rows, matrix->sign.cols}),
                shape_of(model.config, spec));
      EXPECT_TRUE(std::equal(expected.words.begin(), expected.words.end(), matrix->sign.words));
      EXPECT_EQ(matrix->g, stored(options.scales, expected.g));
      EXPECT_EQ(matrix->h, stored(options.scales, expected.h));
      std::vector<float> values(model.weights.at(id).size());
      EXPECT_THROW(found.read_f32(id.role, id.layer, values), Error);
      continue;
    }
    DType type = DType::kF32;
    if (spec.linear) type = options.dense.at(id);
    if (id.role == Role::kTokenEmbedding) type = options.embedding;
    if (id.role == Role::kOutput) type = options.head;
    EXPECT_FALSE(found.one_bit(id.role, id.layer).has_value());
    EXPECT_EQ(found.dense(id.role, id.layer)->view.dtype, type);
    std::vector<float> values(model.weights.at(id).size());
    found.read_f32(id.role, id.layer, values);
    EXPECT_EQ(values, stored(type, model.weights.at(id)));
  }
}

PackOptions tiny_options() {
  PackOptions options;
  options.provenance = {"onebit", Form::kPaper, "tiny", std::string(64, 'a'), "onebit 0.1.0"};
  options.embedding = options.head = DType::kF16;  // rows of 42 are no multiple of 32
  return options;
}

class PackedFile : public ::testing::Test {
 protected:
  PackedFile() : model_(test_models::random_model(test_models::tiny_config(), 3)) {
    test_models::write_gguf(model_, dir_ / "source.gguf", DType::kF32, /*tokenizer=*/true);
  }

  Checkpoint source() const { return Checkpoint::open(dir_ / "source.gguf"); }

  testing::TempDir dir_;
  TinyModel model_;
};

TEST_F(PackedFile, RoundTripOfEveryOption) {
  ModelConfig square = test_models::tiny_config();
  square.dim = 64;  // q8_0 fits, and no padding bits in most matrices
  for (const bool tied : {false, true}) {
    square.tied_head = tied;
    const TinyModel model = test_models::random_model(square, 4);
    test_models::write_gguf(model, dir_ / "64.gguf");
    const Checkpoint from = Checkpoint::open(dir_ / "64.gguf");
    for (const test_models::FormCase& form : test_models::kForms) {
      SCOPED_TRACE(form.name);
      for (const DType scales : {DType::kF16, DType::kF32}) {
        for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
          PackOptions options;
          options.provenance = {"onebit", form.form,      "tiny",
                                "hash",   "onebit 0.1.0", form.group_size};
          options.scales = scales;
          options.embedding = type;
          options.head = type == DType::kQ8_0 ? DType::kF16 : DType::kQ8_0;
          options.dense = {{{Role::kAttnV, 1}, type}, {{Role::kFfnGate, 0}, DType::kF32}};
          std::filesystem::remove(dir_ / "p.gguf");
          write_packed(dir_ / "p.gguf", model, from, options);
          const Checkpoint found = Checkpoint::open(dir_ / "p.gguf");
          expect_packed(found, model, options);
          ASSERT_TRUE(found.provenance().has_value());
          EXPECT_EQ(found.provenance()->method, "onebit");
          EXPECT_EQ(found.provenance()->form, form.form);
          EXPECT_EQ(found.provenance()->group_size, form.group_size);
          EXPECT_EQ(found.provenance()->source_name, "tiny");
          EXPECT_EQ(found.provenance()->source_sha256, "hash");
          EXPECT_EQ(found.provenance()->program, "onebit 0.1.0");
          EXPECT_EQ(found.config().tied_head, tied);
        }
      }
    }
  }
}

TEST_F(PackedFile, EverySizeIsOddInTheTinyModel) {
  const PackOptions options = tiny_options();
  write_packed(dir_ / "p.gguf", model_, source(), options);
  const Checkpoint found = Checkpoint::open(dir_ / "p.gguf");
  expect_packed(found, model_, options);
  EXPECT_EQ(found.name(), "tiny");
  EXPECT_EQ(found.tokenizer().encode("the", {}), source().tokenizer().encode("the", {}));
}

TEST_F(PackedFile, ProvenanceNamesAndHashesTheSource) {
  const Checkpoint from = source();
  const Provenance provenance = provenance_of(from, "onebit", Form::kFoldable);
  EXPECT_EQ(provenance.source_name, "tiny");
  EXPECT_EQ(provenance.source_sha256, from.sha256());
  EXPECT_EQ(provenance.form, Form::kFoldable);
  EXPECT_THAT(provenance.program, ::testing::StartsWith("onebit "));
}

TEST_F(PackedFile, RepacksAPackedFileWithoutKeepingItsOrigin) {
  PackOptions options = tiny_options();
  write_packed(dir_ / "p.gguf", model_, source(), options);
  options.provenance = {"f16", Form::kPaper, "again", "", "onebit 0.2.0"};
  options.dense = all_linear(model_.config, DType::kF16);
  write_packed(dir_ / "q.gguf", model_, Checkpoint::open(dir_ / "p.gguf"), options);
  const Checkpoint found = Checkpoint::open(dir_ / "q.gguf");
  expect_packed(found, model_, options);
  EXPECT_EQ(found.provenance()->method, "f16");
  EXPECT_EQ(found.provenance()->source_name, "again");
  const auto gguf = file::GgufFile::open(dir_ / "q.gguf");
  EXPECT_EQ(gguf.find(kPackedLayoutKey), nullptr) << "no 1-bit matrix, no layout";
}

TEST_F(PackedFile, CarriesTheTokenizerOfAGgufVerbatim) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  const Checkpoint from = Checkpoint::open(testing::model("stories260k.gguf"));
  TinyModel stories{from.config(), {}};
  for (const TensorId& id : tensor_ids(from.config())) {
    auto& values = stories.weights[id];
    values.resize(*formats::element_count(
        shape_of(from.config(), *find_tensor(*from.config().arch, id.role))));
    from.read_f32(id.role, id.layer, values);
  }
  PackOptions options;
  options.provenance = provenance_of(from, "onebit", Form::kPaper);
  write_packed(dir_ / "p.gguf", stories, from, options);
  const auto before = file::GgufFile::open(testing::model("stories260k.gguf"));
  const auto after = file::GgufFile::open(dir_ / "p.gguf");
  int keys = 0;
  for (const auto& [key, value] : before.metadata()) {
    if (!key.starts_with("tokenizer.")) continue;
    ++keys;
    ASSERT_NE(after.find(key), nullptr) << key;
    EXPECT_EQ(after.find(key)->value.index(), value.value.index()) << key;
  }
  EXPECT_GE(keys, 10);
  EXPECT_EQ(*after.get_strings("tokenizer.ggml.tokens"),
            *before.get_strings("tokenizer.ggml.tokens"));
  EXPECT_EQ(*after.get_floats("tokenizer.ggml.scores"),
            *before.get_floats("tokenizer.ggml.scores"));
  EXPECT_EQ(after.find("general.file_type"), nullptr) << "it describes the source's types";
}

TEST_F(PackedFile, CarriesTheTokenizerOfAFolder) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k"));
  ModelConfig config = test_models::tiny_config();
  config.vocab = 520;  // more rows than the tokenizer's 512, as models are often padded
  config.rope.scaling = RopeScaling::kLlama3;
  config.rope.factor = 8.0;
  config.rope.original_context = 32;
  const TinyModel model = test_models::random_model(config, 5);
  test_models::write_hf(model, dir_ / "hf");
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
    std::filesystem::copy_file(testing::model("stories260k") / name, dir_ / "hf" / name);
  }
  write_file(dir_ / "hf" / "chat_template.jinja", "{{ messages[0].content }}");
  const Checkpoint from = Checkpoint::open(dir_ / "hf");
  write_packed(dir_ / "p.gguf", model, from, tiny_options());
  const Checkpoint found = Checkpoint::open(dir_ / "p.gguf");
  expect_packed(found, model, tiny_options());
  EXPECT_EQ(found.name(), "hf");
  EXPECT_EQ(found.chat_template(), "{{ messages[0].content }}");
  EXPECT_EQ(found.tokenizer_data()->tokens.size(), 520U);
  for (const Checkpoint* model_of : {&from, &found}) {
    const std::vector<text::TokenId> last = {519};
    EXPECT_EQ(model_of->tokenizer().decode(last, false), "[PAD519]") << "any row may be emitted";
  }
  for (const char* text : {"", "Once upon a time", "  h\u00e9llo\n\u4f60 <s>", "\xff\xfe"}) {
    EXPECT_EQ(found.tokenizer().encode(text, {}), from.tokenizer().encode(text, {}));
  }
  write_file(dir_ / "hf" / "added_tokens.json", R"({"<|im_start|>": 512, "<|im_end|>": 514})");
  write_file(dir_ / "hf" / "special_tokens_map.json", R"({"eos_token": "<|im_end|>"})");
  const Checkpoint chat = Checkpoint::open(dir_ / "hf");
  write_packed(dir_ / "chat.gguf", model, chat, tiny_options());
  const Checkpoint packed_chat = Checkpoint::open(dir_ / "chat.gguf");
  for (const Checkpoint* model_of : {&chat, &packed_chat}) {
    const std::vector<text::TokenId> ids = model_of->tokenizer().encode(
        "<|im_start|><|im_end|>", {.add_special = false, .parse_special = true});
    EXPECT_EQ(ids, (std::vector<text::TokenId>{512, 514}));
    EXPECT_TRUE(model_of->tokenizer().is_end(514));
    EXPECT_EQ(model_of->tokenizer().decode(std::vector<text::TokenId>{513}, false), "[PAD513]");
  }
  write_file(dir_ / "hf" / "tokenizer_config.json", R"({"add_bos_token": false})");
  const Checkpoint without = Checkpoint::open(dir_ / "hf");
  EXPECT_TRUE(from.tokenizer().adds_bos());
  EXPECT_FALSE(without.tokenizer().adds_bos()) << "the folder's options decide";
  const auto expected = rope_frequencies(config);
  const auto frequencies = rope_frequencies(found.config());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_FLOAT_EQ(frequencies[i], expected[i]);
}

TEST_F(PackedFile, TokenizerDataSurvivesAsMetadata) {
  text::TokenizerData data = test_models::tiny_tokenizer();
  data.model = "gpt2";
  data.pre = "smollm";
  data.merges = {"h e", "i n"};
  data.eot = 2;
  data.add_eos = true;
  data.add_space_prefix = false;
  data.space_prefix = text::SpacePrefix::kStartUnlessSpace;
  data.split_regexes = {"\\s+", "[0-9]"};
  data.nfc = true;
  data.ignore_merges = true;
  data.unnormalized = {3, 4};
  data.sentencepiece_model = std::string("\n\0\xff", 3);
  {
    file::GgufWriter writer(dir_ / "t.gguf");
    for (auto& [key, value] : tokenizer_to_gguf(data)) writer.set(key, value);
    writer.finish();
  }
  const auto found = tokenizer_from_gguf(file::GgufFile::open(dir_ / "t.gguf"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->model, data.model);
  EXPECT_EQ(found->pre, data.pre);
  EXPECT_EQ(found->tokens, data.tokens);
  EXPECT_EQ(found->types, data.types);
  EXPECT_EQ(found->scores, data.scores);
  EXPECT_EQ(found->merges, data.merges);
  EXPECT_EQ(found->bos, data.bos);
  EXPECT_EQ(found->eos, data.eos);
  EXPECT_EQ(found->eot, data.eot);
  EXPECT_EQ(found->unk, data.unk);
  EXPECT_EQ(found->add_bos, data.add_bos);
  EXPECT_EQ(found->add_eos, data.add_eos);
  EXPECT_EQ(found->add_space_prefix, data.add_space_prefix);
  EXPECT_EQ(found->space_prefix, data.space_prefix);
  EXPECT_EQ(found->split_regexes, data.split_regexes);
  EXPECT_EQ(found->nfc, data.nfc);
  EXPECT_EQ(found->ignore_merges, data.ignore_merges);
  EXPECT_EQ(found->unnormalized, data.unnormalized);
  EXPECT_EQ(found->sentencepiece_model, data.sentencepiece_model);
}

TEST_F(PackedFile, RefusesTypesThatDoNotFit) {
  const auto error = [this](const PackOptions& options) -> std::string {
    try {
      PackedWriter writer(dir_ / "p.gguf", source(), options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUnsupported);
      return e.what();
    }
    return "accepted";
  };
  PackOptions options = tiny_options();
  options.embedding = DType::kQ8_0;
  EXPECT_EQ(error(options),
            "tensor token_embd.weight: found rows of 42 values, expected a multiple of 32 for type "
            "q8_0; choose f16 (--embed, --head)");
  options = tiny_options();
  options.head = DType::kQ4_1;
  EXPECT_THAT(error(options), AllOf(HasSubstr("output.weight"), HasSubstr("q4_1")));
  options = tiny_options();
  options.scales = DType::kBF16;
  EXPECT_THAT(error(options), AllOf(HasSubstr("scales"), HasSubstr("bf16")));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "p.gguf"));
}

/// What add_one_bit() says of these scales in the first matrix, or "" when it takes them.
std::string refusal(const std::filesystem::path& out, const Checkpoint& source,
                    const TinyModel& model, PackOptions options, const Packed& matrix) {
  PackedWriter writer(out, source, std::move(options));
  for (const TensorId id : {TensorId{Role::kTokenEmbedding, -1}, TensorId{Role::kAttnNorm, 0}}) {
    writer.add_dense(id.role, id.layer, model.weights.at(id));
  }
  try {
    writer.add_one_bit(Role::kAttnQ, 0, matrix.words, matrix.g, matrix.h);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNumeric);
    return error.what();
  }
  return "";
}

TEST_F(PackedFile, RefusesValuesThatAreNotFiniteOnceStored) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  struct Case {
    DType scales;
    float value;
    bool good;
  };
  const Case cases[] = {{DType::kF16, nan, false},      {DType::kF16, -inf, false},
                        {DType::kF16, 65520.0F, false}, {DType::kF16, -65519.0F, true},
                        {DType::kF32, 65520.0F, true},  {DType::kF32, nan, false}};
  for (const Case& c : cases) {
    PackOptions options = tiny_options();
    options.scales = c.scales;
    Packed q = pack(model_, {Role::kAttnQ, 0}, tiny_options().provenance);
    q.h[7] = c.value;
    const std::string said = refusal(dir_ / "p.gguf", source(), model_, options, q);
    EXPECT_EQ(said.empty(), c.good) << c.value;
    if (!c.good) {
      EXPECT_THAT(said, AllOf(HasSubstr("blk.0.attn_q.out_scale"), HasSubstr("element 7")));
    }
  }
  PackedWriter writer(dir_ / "p.gguf", source(), tiny_options());
  auto embedding = model_.weights.at({Role::kTokenEmbedding, -1});
  embedding[5] = 1e6F;
  EXPECT_THROW(writer.add_dense(Role::kTokenEmbedding, -1, embedding), Error);
}

TEST_F(PackedFile, RefusesScalesThatAreAllBelowF16) {
  const std::tuple<DType, float, bool> cases[] = {
      {DType::kF16, 0x1p-14F, true},
      {DType::kF16, std::nextafter(0x1p-14F, 0.0F), false},
      {DType::kF16, -1e-9F, false},
      {DType::kF16, 0.0F, true},  // 0: a zero matrix
      {DType::kF32, -1e-9F, true}};
  for (const auto& [type, largest, good] : cases) {
    PackOptions options = tiny_options();
    options.scales = type;
    Packed q = pack(model_, {Role::kAttnQ, 0}, tiny_options().provenance);
    std::fill(q.g.begin(), q.g.end(), largest / 2);
    q.g[3] = largest;
    const std::string said = refusal(dir_ / "p.gguf", source(), model_, options, q);
    EXPECT_EQ(said.empty(), good) << largest;
    if (!good) {
      EXPECT_THAT(said, AllOf(HasSubstr("blk.0.attn_q.in_scale"), HasSubstr("choose f32")));
    }
  }
}

TEST_F(PackedFile, MisuseIsAProgrammerError) {
  PackedWriter writer(dir_ / "p.gguf", source(), tiny_options());
  EXPECT_THROW(writer.finish(), InternalError);
  EXPECT_THROW(writer.add_dense(Role::kAttnNorm, 0, model_.weights.at({Role::kAttnNorm, 0})),
               InternalError)
      << "out of order";
  writer.add_dense(Role::kTokenEmbedding, -1, model_.weights.at({Role::kTokenEmbedding, -1}));
  writer.add_dense(Role::kAttnNorm, 0, model_.weights.at({Role::kAttnNorm, 0}));
  EXPECT_THROW(writer.add_dense(Role::kAttnQ, 0, model_.weights.at({Role::kAttnQ, 0})),
               InternalError)
      << "declared 1-bit";
}

TEST_F(PackedFile, PaddingBitsMustBeZero) {
  PackedWriter writer(dir_ / "p.gguf", source(), tiny_options());
  writer.add_dense(Role::kTokenEmbedding, -1, model_.weights.at({Role::kTokenEmbedding, -1}));
  writer.add_dense(Role::kAttnNorm, 0, model_.weights.at({Role::kAttnNorm, 0}));
  Packed q = pack(model_, {Role::kAttnQ, 0}, tiny_options().provenance);
  q.words[3] |= 1ULL << 42;
  EXPECT_THROW(writer.add_one_bit(Role::kAttnQ, 0, q.words, q.g, q.h), InternalError);
}

/// Damage to a good file, and the words of the error it must give.
struct Damage {
  const char* what;
  test_models::GgufChange apply;
  ErrorCode code;
  const char* message;
};

TEST_F(PackedFile, DamageIsNamed) {
  write_packed(dir_ / "p.gguf", model_, source(), tiny_options());
  const std::string sign = "blk.1.attn_v.sign";
  const std::string g = "blk.1.attn_v.in_scale";
  const auto set = [](const char* wanted, auto replacement) {
    return [wanted, replacement](std::string& name, file::GgufValue* value, auto*, auto*, auto*) {
      if (value != nullptr && name == wanted) value->value = replacement;
    };
  };
  const auto drop = [](const std::string& wanted) {
    return [wanted](std::string& name, auto*, auto*, auto*, auto*) {
      if (name == wanted) name.clear();
    };
  };
  const Damage cases[] = {
      {"version", set("onebit.version", std::uint32_t{1}), ErrorCode::kUnsupported,
       "onebit.version: found 1, expected 2"},
      {"layout", set("onebit.layout", std::string("sign1.v2")), ErrorCode::kUnsupported,
       "onebit.layout: found 'sign1.v2', expected 'sign1.v1'"},
      {"form", set("onebit.form", std::string("round")), ErrorCode::kUnsupported,
       "onebit.form: found 'round', expected one of paper, free, foldable"},
      {"no version", drop("onebit.version"), ErrorCode::kCorrupt, "but no onebit.version"},
      {"no layout", drop("onebit.layout"), ErrorCode::kCorrupt, "onebit.layout"},
      {"no form", drop("onebit.form"), ErrorCode::kCorrupt, "onebit.form"},
      {"no method", drop("onebit.method"), ErrorCode::kCorrupt, "onebit.method"},
      {"no sign", drop(sign), ErrorCode::kNotFound, "blk.1.attn_v.weight is absent"},
      {"no g", drop(g), ErrorCode::kNotFound, "blk.1.attn_v.in_scale is absent"},
      {"sign type",
       [&](std::string& name, auto*, auto* bytes, auto* shape, DType* type) {
         if (name != sign || bytes == nullptr) return;
         *type = DType::kF32;
         bytes->resize(*formats::byte_count(*type, *shape));
       },
       ErrorCode::kCorrupt, "blk.1.attn_v.sign: found type f32, expected i8"},
      {"sign shape",
       [&](std::string& name, auto*, auto* bytes, formats::Shape* shape, auto*) {
         if (name == sign && bytes != nullptr) *shape = {40, 4};
       },
       ErrorCode::kCorrupt, "blk.1.attn_v.sign: found shape [40, 4], expected [20, 8]"},
      {"g shape",
       [&](std::string& name, auto*, auto* bytes, formats::Shape* shape, auto*) {
         if (name == g && bytes != nullptr) *shape = {6, 7};
       },
       ErrorCode::kCorrupt, "blk.1.attn_v.in_scale: found shape [6, 7], expected [42]"},
      {"padding",
       [&](std::string& name, auto*, auto* bytes, auto*, auto*) {
         if (name == sign && bytes != nullptr) (*bytes)[8 * 3 + 7] = std::byte{0x80};
       },
       ErrorCode::kCorrupt, "row 3: found one bits after column 42"},
      {"g not finite",
       [&](std::string& name, auto*, auto* bytes, auto*, auto*) {
         if (name == g && bytes != nullptr) (*bytes)[2 * 5 + 1] = std::byte{0x7E};
       },
       ErrorCode::kCorrupt, "blk.1.attn_v.in_scale: element 5: found nan"},
  };
  for (const Damage& damage : cases) {
    SCOPED_TRACE(damage.what);
    test_models::rewrite_gguf(dir_ / "p.gguf", dir_ / "bad.gguf", damage.apply);
    try {
      const Checkpoint found = Checkpoint::open(dir_ / "bad.gguf");
      found.one_bit(Role::kAttnV, 1);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), damage.code) << error.what();
      EXPECT_THAT(error.what(), AllOf(HasSubstr("bad.gguf"), HasSubstr(damage.message)));
    }
  }
}

TEST_F(PackedFile, PythonsGgufReadsIt) {
  const auto python = testing::model("../venv/bin/python");
  ONEBIT_REQUIRE_FILE(python);
  write_packed(dir_ / "p.gguf", model_, source(), tiny_options());
  // Python unpacks the signs by numpy's own bit order and prints one matrix.
  write_file(dir_ / "read.py", R"(
import sys
import numpy
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1])
assert reader.fields["general.architecture"].contents() == "llama"
assert reader.fields["onebit.version"].contents() == 2
assert reader.fields["onebit.form"].contents() == "paper"
assert reader.fields["tokenizer.ggml.tokens"].contents()[31:33] == ["he", "\u2581the"]
tensors = {t.name: t for t in reader.tensors}
sign = tensors["blk.1.ffn_down.sign"].data
assert sign.shape == (42, 16) and sign.dtype == numpy.int8, (sign.shape, sign.dtype)
bits = numpy.unpackbits(sign.view(numpy.uint8), axis=1, bitorder="little")
assert not bits[:, 70:].any()
open(sys.argv[2], "wb").write(bits[:, :70].tobytes()
    + tensors["blk.1.ffn_down.in_scale"].data.astype("<f4").tobytes()
    + tensors["blk.1.ffn_down.out_scale"].data.astype("<f4").tobytes())
)");
  const std::string command =
      fmt::format("'{}' '{}' '{}' '{}'", python.string(), (dir_ / "read.py").string(),
                  (dir_ / "p.gguf").string(), (dir_ / "out.bin").string());
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::string out = read_file(dir_ / "out.bin");
  ASSERT_EQ(out.size(), 42U * 70 + 4 * (70 + 42));
  const std::vector<float>& w = model_.weights.at({Role::kFfnDown, 1});
  for (std::size_t i = 0; i < w.size(); ++i) ASSERT_EQ(out[i], w[i] < 0 ? 1 : 0) << i;
  std::vector<float> scales(70 + 42);
  std::memcpy(scales.data(), out.data() + w.size(), scales.size() * sizeof(float));
  const Packed expected = pack(model_, {Role::kFfnDown, 1}, tiny_options().provenance);
  for (std::size_t i = 0; i < 70; ++i) EXPECT_EQ(scales[i], f16_to_f32(f32_to_f16(expected.g[i])));
  for (std::size_t i = 0; i < 42; ++i) {
    EXPECT_EQ(scales[70 + i], f16_to_f32(f32_to_f16(expected.h[i])));
  }
}

/// The tiny model's matrices as two factors of rank 3 each.
class FactorsFile : public ::testing::Test {
 protected:
  FactorsFile() : model_(test_models::random_model(test_models::tiny_config(), 4)) {
    test_models::write_gguf(model_, dir_ / "source.gguf");
    options_.provenance.method = "lowrank";
    options_.provenance.activations = {InputNorm::kRms, Rounding::kMinMax, 8, 4};
    options_.embedding = options_.head = DType::kF16;
    for (const TensorId& id : tensor_ids(model_.config)) {
      if (spec(id).linear) options_.low_rank[id] = {.rank = kRank, .type = DType::kF32};
    }
  }

  const TensorSpec& spec(const TensorId& id) const {
    return *find_tensor(*model_.config.arch, id.role);
  }

  /// Every A is the matrix's first columns, every B its first rows.
  void write() {
    PackedWriter writer(dir_ / "p.gguf", Checkpoint::open(dir_ / "source.gguf"), options_);
    for (const TensorId& id : writer.order()) {
      if (!spec(id).linear) {
        writer.add_dense(id.role, id.layer, model_.weights.at(id));
        continue;
      }
      const auto [a, b] = factors(id);
      writer.add_low_rank(id.role, id.layer, a, b);
    }
    writer.finish();
  }

  std::pair<std::vector<float>, std::vector<float>> factors(const TensorId& id) const {
    const formats::Shape shape = shape_of(model_.config, spec(id));
    const std::vector<float>& w = model_.weights.at(id);
    return {{w.begin(), w.begin() + shape[0] * kRank}, {w.end() - kRank * shape[1], w.end()}};
  }

  static constexpr std::int64_t kRank = 3;
  testing::TempDir dir_;
  TinyModel model_;
  PackOptions options_;
};

TEST_F(FactorsFile, IsReadBack) {
  write();
  const Checkpoint found = Checkpoint::open(dir_ / "p.gguf");
  EXPECT_EQ(found.provenance()->activations, options_.provenance.activations);
  for (const TensorId& id : tensor_ids(model_.config)) {
    if (!spec(id).linear) continue;
    const auto [a, b] = factors(id);
    const auto stored = found.low_rank(id.role, id.layer);
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(stored->rank(), kRank);
    EXPECT_FALSE(found.dense(id.role, id.layer).has_value());
    const formats::Shape shape = shape_of(model_.config, spec(id));
    std::vector<float> w(static_cast<std::size_t>(shape[0] * shape[1]));
    found.read_f32(id.role, id.layer, w);
    const auto in = static_cast<std::size_t>(shape[1]);
    for (std::size_t i = 0; i < w.size(); ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < kRank; ++k) {
        sum += double{a[i / in * kRank + k]} * b[k * in + i % in];
      }
      ASSERT_FLOAT_EQ(w[i], static_cast<float>(sum));
    }
  }
}

TEST_F(FactorsFile, DamageIsNamed) {
  write();
  const auto expect = [&](const test_models::GgufChange& change, const char* message) {
    test_models::rewrite_gguf(dir_ / "p.gguf", dir_ / "bad.gguf", change);
    try {
      Checkpoint::open(dir_ / "bad.gguf");
      ADD_FAILURE() << "no error, expected: " << message;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  const auto set = [](const char* wanted, auto replacement) {
    return [wanted, replacement](std::string& name, file::GgufValue* value, auto*, auto*, auto*) {
      if (value != nullptr && name == wanted) value->value = replacement;
    };
  };
  const auto reshape = [](const char* wanted, const formats::Shape& to, DType as) {
    return [=](std::string& name, auto*, std::vector<std::byte>* bytes, formats::Shape* shape,
               DType* type) {
      if (bytes == nullptr || name != wanted) return;
      *shape = to;
      *type = as;
      bytes->resize(*formats::byte_count(as, to));
    };
  };
  expect(set("onebit.activations.norm", std::string("batch")),
         "onebit.activations.norm: found 'batch', expected one of none, layer, rms");
  expect(set("onebit.activations.bits", std::uint32_t{1}),
         "onebit.activations.bits: found 1, expected 2 to 8");
  expect(set("onebit.activations.kv_bits", std::uint32_t{16}),
         "onebit.activations.kv_bits: found 16, expected 2 to 8");
  expect(reshape("blk.0.attn_v.out_factor", {20, 2}, DType::kF32),
         "blk.0.attn_v.in_factor: found shape [3, 42], expected [2, 42]");
  expect(reshape("blk.0.attn_v.out_factor", {20, 21}, DType::kF32),
         "blk.0.attn_v.out_factor: found shape [20, 21], expected [20, 20]");
  expect(reshape("blk.0.attn_v.out_factor", {60}, DType::kF32),
         "blk.0.attn_v.out_factor: found shape [60], expected [20, 1]");
  expect(reshape("blk.0.attn_v.in_factor", {3, 42}, DType::kI8),
         "blk.0.attn_v.in_factor: found type i8, expected f16 or f32");
  expect(
      [](std::string& name, auto*, auto*, auto*, auto*) {
        if (name == "blk.0.attn_v.in_factor") name.clear();
      },
      "tensor blk.0.attn_v.in_factor is absent");
}

TEST(BlockNorms, AreNotInModelsWithoutThem) {
  ModelConfig config = test_models::tiny_config();
  config.block_norms = false;
  const testing::TempDir dir;
  const TinyModel model = test_models::random_model(config, 6);
  test_models::write_gguf(model, dir / "source.gguf");
  const Checkpoint source = Checkpoint::open(dir / "source.gguf");
  EXPECT_FALSE(source.config().block_norms);
  PackOptions options;
  options.provenance = {"bitnet", Form::kFoldable, "tiny", "hash", "onebit 0.1.0"};
  options.embedding = options.head = DType::kF16;
  write_packed(dir / "p.gguf", model, source, options);
  const Checkpoint packed = Checkpoint::open(dir / "p.gguf");
  EXPECT_FALSE(packed.config().block_norms);
  std::vector<float> norm(static_cast<std::size_t>(config.dim));
  EXPECT_THROW(packed.read_f32(Role::kAttnNorm, 0, norm), Error);
  packed.read_f32(Role::kOutputNorm, -1, norm);
  EXPECT_EQ(norm, model.weights.at({Role::kOutputNorm, -1}));
}

}  // namespace
}  // namespace onebit::arch
