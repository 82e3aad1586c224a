#include "file/gguf.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sha256.h"
#include "base/test_paths.h"
#include "formats/dequantize.h"

namespace onebit::file {
namespace {

using formats::DType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// As tools/golden/make_gguf.py fills tensor number `tensor`.
std::vector<std::byte> pattern(std::size_t size, std::size_t tensor) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((37 * i + 11 * tensor + 5) % 251);
  }
  return bytes;
}

struct Declared {
  const char* name;
  DType dtype;
  formats::Shape shape;
};

/// The tensors of tests/golden/gguf/every_type.gguf.
const std::vector<Declared> kTensors = {
    {"one.f32", DType::kF32, {1}},
    {"matrix.f32", DType::kF32, {2, 3}},
    {"cube.f16", DType::kF16, {2, 3, 5}},
    {"four.bf16", DType::kBF16, {2, 1, 3, 7}},
    {"odd.i8", DType::kI8, {13}},
    {"i16", DType::kI16, {3}},
    {"i32", DType::kI32, {5}},
    {"i64", DType::kI64, {2}},
    {"f64", DType::kF64, {3}},
    {"q4_0", DType::kQ4_0, {2, 32}},
    {"q4_1", DType::kQ4_1, {1, 64}},
    {"q5_0", DType::kQ5_0, {32}},
    {"q5_1", DType::kQ5_1, {32}},
    {"q8_0", DType::kQ8_0, {3, 64}},
    {"q2_k", DType::kQ2_K, {256}},
    {"q3_k", DType::kQ3_K, {2, 256}},
    {"q4_k", DType::kQ4_K, {256}},
    {"q5_k", DType::kQ5_K, {256}},
    {"q6_k", DType::kQ6_K, {1, 512}},
};

template <class T>
void expect_scalar(const GgufFile& file, const std::string& type, T low, T high) {
  const auto value = [&](const std::string& key) -> const auto& {
    const GgufValue* found = file.find(key);
    if (found == nullptr) throw std::runtime_error("no key " + key);
    return found->value;
  };
  EXPECT_EQ(std::get<T>(value("low." + type)), low);
  EXPECT_EQ(std::get<T>(value("high." + type)), high);
  const auto& array = std::get<GgufArray>(value("array." + type));
  EXPECT_THAT(std::get<std::vector<T>>(array), ElementsAre(low, high, low));
}

TEST(Gguf, ReadsEveryMetadataTypeAsPythonWroteIt) {
  const GgufFile file = GgufFile::open(testing::golden("gguf/every_type.gguf"));
  EXPECT_EQ(file.metadata().size(), 3 + 12 * 3 + 1U);
  EXPECT_EQ(file.metadata().front().first, "general.architecture");
  expect_scalar<std::uint8_t>(file, "UINT8", 0, 255);
  expect_scalar<std::int8_t>(file, "INT8", -128, 127);
  expect_scalar<std::uint16_t>(file, "UINT16", 0, 65535);
  expect_scalar<std::int16_t>(file, "INT16", -32768, 32767);
  expect_scalar<std::uint32_t>(file, "UINT32", 0, 4294967295U);
  expect_scalar<std::int32_t>(file, "INT32", std::numeric_limits<std::int32_t>::min(), 2147483647);
  expect_scalar<float>(file, "FLOAT32", -0.15625F, 3.0e38F);
  expect_scalar<bool>(file, "BOOL", false, true);
  expect_scalar<std::string>(file, "STRING", "", "na\xc3\xafve\n\t'quoted'");
  expect_scalar<std::uint64_t>(file, "UINT64", 0, std::numeric_limits<std::uint64_t>::max());
  expect_scalar<std::int64_t>(file, "INT64", std::numeric_limits<std::int64_t>::min(),
                              std::numeric_limits<std::int64_t>::max());
  expect_scalar<double>(file, "FLOAT64", 0.1, -1e300);

  const auto& outer =
      std::get<std::vector<GgufValue>>(std::get<GgufArray>(file.find("array.ARRAY")->value));
  ASSERT_EQ(outer.size(), 3U);
  const auto inner = [](const GgufValue& value) { return std::get<GgufArray>(value.value); };
  EXPECT_THAT(std::get<std::vector<std::int32_t>>(inner(outer[0])), ElementsAre(1, 2, 3));
  EXPECT_THAT(std::get<std::vector<std::string>>(inner(outer[1])), ElementsAre("a", "bc"));
  const auto deepest = std::get<std::vector<GgufValue>>(inner(outer[2]));
  EXPECT_THAT(std::get<std::vector<float>>(inner(deepest.at(0))), ElementsAre(0.5F));
  EXPECT_THAT(std::get<std::vector<bool>>(inner(deepest.at(1))), ElementsAre(true, false));
}

TEST(Gguf, ReadsEveryTensorTypeAsPythonWroteIt) {
  const GgufFile file = GgufFile::open(testing::golden("gguf/every_type.gguf"));
  ASSERT_EQ(file.tensors().size(), kTensors.size());
  for (std::size_t i = 0; i < kTensors.size(); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, kTensors[i].name);
    EXPECT_EQ(tensor.view.dtype, kTensors[i].dtype) << tensor.name;
    EXPECT_EQ(tensor.view.shape, kTensors[i].shape) << tensor.name;
    const auto expected = pattern(*formats::byte_count(kTensors[i].dtype, kTensors[i].shape), i);
    EXPECT_TRUE(std::ranges::equal(tensor.view.data, expected)) << tensor.name;
    EXPECT_EQ(file.find_tensor(tensor.name), &tensor);
    EXPECT_EQ((tensor.view.data.data() - file.bytes().data()) % 64, 0) << "alignment of the file";
    file.release(tensor.view);
    EXPECT_TRUE(std::ranges::equal(tensor.view.data, expected)) << "valid after release";
  }
  EXPECT_EQ(file.find_tensor("q9"), nullptr);
  EXPECT_EQ(file.find("q9"), nullptr);
}

/// Writes all that `file` holds with our writer.
void rewrite(const GgufFile& file, const std::filesystem::path& path) {
  GgufWriter writer(path);
  for (const auto& [key, value] : file.metadata()) writer.set(key, value);
  for (const auto& t : file.tensors()) writer.declare(t.name, t.view.dtype, t.view.shape);
  for (const auto& t : file.tensors()) writer.write(t.name, t.view.data);
  writer.finish();
}

TEST(GgufWriter, GivesTheBytesOfPythonsWriter) {
  const testing::TempDir folder;
  const auto golden = testing::golden("gguf/every_type.gguf");
  rewrite(GgufFile::open(golden), folder / "again.gguf");
  EXPECT_TRUE(read_file(golden) == read_file(folder / "again.gguf"));
}

TEST(GgufWriter, PythonReadsWhatWeWrite) {
  const auto python = testing::model("../venv/bin/python");
  ONEBIT_REQUIRE_FILE(python);
  const testing::TempDir folder;
  const auto path = folder / "ours.gguf";
  GgufWriter writer(path);
  writer.set("general.architecture", GgufValue{std::string("none yet")});
  writer.set("f64", GgufValue{-2.5});
  writer.set("big", GgufValue{std::numeric_limits<std::uint64_t>::max()});
  writer.set("flags", GgufValue{GgufArray{std::vector<bool>{true, false, true}}});
  writer.set("tokens", GgufValue{GgufArray{std::vector<std::string>{"", "\xc4\xa0t", "\n"}}});
  writer.set("general.architecture", GgufValue{std::string("llama")});
  const std::vector<float> weights = {-1.0F, 0.5F, 2.0F};
  const auto blocks = pattern(2 * 34, 3);
  const std::array<std::byte, 5> odd = {std::byte{1}, std::byte{255}, std::byte{2}, std::byte{3},
                                        std::byte{128}};
  writer.declare("odd", DType::kI8, {5});
  writer.declare("w", DType::kF32, {1, 3});
  writer.declare("q", DType::kQ8_0, {2, 1, 32});
  writer.write("odd", odd);
  writer.write("w", std::as_bytes(std::span(weights)));
  writer.write("q", blocks);
  EXPECT_FALSE(std::filesystem::exists(path)) << "nothing appears before finish()";
  writer.finish();

  const std::string command =
      python.string() + " " ONEBIT_SOURCE_DIR "/tools/dump_gguf.py " + path.string() + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), n);
  }
  EXPECT_EQ(::pclose(pipe), 0);
  std::string hex;
  for (const std::byte b : blocks) hex += fmt::format("{:02x}", std::to_integer<int>(b));
  EXPECT_EQ(output,
            "alignment 32\n"
            "general.architecture STRING \"llama\"\n"
            "f64 FLOAT64 -2.5\n"
            "big UINT64 18446744073709551615\n"
            "flags ARRAY/BOOL [true, false, true]\n"
            "tokens ARRAY/STRING [\"\", \"\\u0120t\", \"\\n\"]\n"
            "general.alignment UINT32 32\n"
            "odd I8 [5] 01ff020380\n"
            "w F32 [1, 3] 000080bf0000003f00000040\n"
            "q Q8_0 [2, 1, 32] " +
                hex + "\n");
}

TEST(GgufWriter, EdgesSurviveTheRoundTrip) {
  const testing::TempDir folder;
  GgufArray nested = std::vector<std::uint8_t>{7};
  for (int depth = 1; depth < 8; ++depth) nested = std::vector<GgufValue>{GgufValue{nested}};
  {
    GgufWriter writer(folder / "empty.gguf");
    writer.finish();
    GgufWriter other(folder / "edges.gguf");
    other.set("", GgufValue{std::string(70000, 'x')});
    other.set("no strings", GgufValue{GgufArray{std::vector<std::string>{}}});
    other.set("no arrays", GgufValue{GgufArray{std::vector<GgufValue>{}}});
    other.set("nested", GgufValue{nested});
    other.set("general.alignment", GgufValue{std::uint32_t{8}});
    other.declare("scalar", DType::kF32, {});
    other.declare("", DType::kI8, {1, 1, 1, 1});
    other.write("scalar", pattern(4, 0));
    other.write("", pattern(1, 1));
    other.finish();
  }
  const GgufFile empty = GgufFile::open(folder / "empty.gguf");
  EXPECT_TRUE(empty.tensors().empty());
  EXPECT_EQ(empty.require_int("general.alignment"), 32);
  EXPECT_EQ(empty.bytes().size() % 32, 0U);

  const GgufFile edges = GgufFile::open(folder / "edges.gguf");
  EXPECT_EQ(edges.require_string("").size(), 70000U);
  EXPECT_TRUE(edges.get_strings("no strings")->empty());
  EXPECT_EQ(edges.metadata()[2].second.value.index(), 9U);
  const GgufArray* inner = &std::get<GgufArray>(edges.find("nested")->value);
  for (int depth = 1; depth < 8; ++depth) {
    inner = &std::get<GgufArray>(std::get<std::vector<GgufValue>>(*inner).at(0).value);
  }
  EXPECT_THAT(std::get<std::vector<std::uint8_t>>(*inner), ElementsAre(7));
  EXPECT_EQ(edges.find_tensor("scalar")->view.shape, formats::Shape{});
  EXPECT_TRUE(std::ranges::equal(edges.find_tensor("")->view.data, pattern(1, 1)));
}

TEST(GgufWriter, RefusesWhatTheFormatCannotHold) {
  const testing::TempDir folder;
  const auto expect = [&](const auto& action, const char* message) {
    GgufWriter writer(folder / "bad.gguf");
    try {
      action(writer);
      ADD_FAILURE() << "no error: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  const auto declare = [](const std::string& name, DType dtype, const formats::Shape& shape) {
    return [=](GgufWriter& writer) {
      writer.declare("taken", DType::kF32, {1});
      writer.declare(name, dtype, shape);
    };
  };
  expect(declare("taken", DType::kF16, {1}), "tensor 'taken': found the name twice");
  expect(declare(std::string(64, 'n'), DType::kF32, {1}), "found a name of 64 bytes");
  expect(declare("t", DType::kF32, {1, 1, 1, 1, 1}), "found 5 dimensions, expected at most 4");
  expect(declare("t", DType::kF32, {2, 0}), "found shape [2, 0]");
  expect(declare("t", DType::kF32, {-1}), "found shape [-1]");
  expect(declare("t", DType::kQ8_0, {2, 33}), "whole blocks of 32 for q8_0");
  expect(declare("t", DType::kF64, {1LL << 61}), "below 2^64");
  expect([](GgufWriter& w) { w.set(std::string(65536, 'k'), GgufValue{true}); }, "65536 bytes");
  for (const std::uint32_t alignment : {0U, 4U, 48U}) {
    expect([=](GgufWriter& w) { w.set("general.alignment", GgufValue{alignment}); },
           "expected a u32 power of two");
  }
  expect([](GgufWriter& w) { w.set("general.alignment", GgufValue{std::uint64_t{32}}); },
         "found another type");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "unfinished files leave nothing behind";
}

TEST(GgufWriter, WrongOrderOrSizeIsAProgrammerError) {
  const testing::TempDir folder;
  GgufWriter writer(folder / "bad.gguf");
  writer.declare("a", DType::kF32, {1});
  writer.declare("b", DType::kF32, {1});
  EXPECT_THROW(writer.write("b", pattern(4, 0)), InternalError);
  EXPECT_THROW(writer.write("a", pattern(5, 0)), InternalError);
  writer.write("a", pattern(4, 0));
  EXPECT_THROW(writer.finish(), InternalError);
  EXPECT_THROW(writer.declare("c", DType::kF32, {1}), InternalError);
  EXPECT_THROW(writer.set("c", GgufValue{true}), InternalError);
  writer.write("b", pattern(4, 0));
  EXPECT_THROW(writer.write("b", pattern(4, 0)), InternalError);
  writer.finish();
  EXPECT_EQ(GgufFile::open(folder / "bad.gguf").tensors().size(), 2U);
}

TEST(Gguf, TypedAccessConvertsOrSaysWhatItFound) {
  const GgufFile file = GgufFile::open(testing::golden("gguf/every_type.gguf"));
  EXPECT_EQ(file.get_int("high.UINT8"), 255);
  EXPECT_EQ(file.get_int("low.INT64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file.get_float("low.FLOAT32"), -0.15625);
  EXPECT_EQ(file.get_float("low.FLOAT64"), 0.1);
  EXPECT_EQ(file.get_bool("high.BOOL"), true);
  EXPECT_EQ(file.get_string("general.architecture"), "test");
  EXPECT_EQ(file.get_strings("array.STRING")->size(), 3U);
  EXPECT_EQ(file.get_ints("array.INT16"), (std::vector<std::int64_t>{-32768, 32767, -32768}));
  EXPECT_EQ(file.get_floats("array.FLOAT32")->at(0), -0.15625F);

  EXPECT_EQ(file.get_int("absent"), std::nullopt);
  EXPECT_EQ(file.get_float("absent"), std::nullopt);
  EXPECT_EQ(file.get_bool("absent"), std::nullopt);
  EXPECT_EQ(file.get_string("absent"), std::nullopt);
  EXPECT_EQ(file.get_ints("absent"), std::nullopt);
  EXPECT_EQ(file.get_strings("absent"), nullptr);
  EXPECT_EQ(file.get_floats("absent"), nullptr);

  const auto expect = [](const auto& action, const char* message) {
    try {
      action();
      ADD_FAILURE() << "no error: " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr(message));
      EXPECT_THAT(error.what(), HasSubstr("every_type.gguf: metadata '"));
    }
  };
  expect([&] { file.get_int("high.UINT64"); }, "18446744073709551615, expected at most 2^63-1");
  expect([&] { file.get_int("low.BOOL"); }, "found bool, expected an integer");
  expect([&] { file.get_int("array.INT8"); }, "found array of i8, expected an integer");
  expect([&] { file.get_float("low.INT8"); }, "found i8, expected f32 or f64");
  expect([&] { file.get_bool("low.UINT8"); }, "found u8, expected bool");
  expect([&] { file.get_string("low.BOOL"); }, "found bool, expected string");
  expect([&] { file.get_strings("low.STRING"); }, "found string, expected array of string");
  expect([&] { file.get_strings("array.INT8"); }, "found array of i8, expected array of string");
  expect([&] { file.get_ints("array.UINT64"); }, "element 1: found 18446744073709551615");
  expect([&] { file.get_ints("array.BOOL"); }, "found array of bool, expected array of integers");
  expect([&] { file.get_floats("array.FLOAT64"); }, "found array of f64, expected array of f32");
  expect([&] { file.require_int("absent"); }, "metadata 'absent': not found");
  expect([&] { file.require_string("absent"); }, "metadata 'absent': not found");
}

TEST(Gguf, OpensARealModel) {
  const auto path = testing::model("smollm2-135m-instruct.gguf");
  ONEBIT_REQUIRE_FILE(path);
  EXPECT_TRUE(is_gguf(path));
  const GgufFile file = GgufFile::open(path);
  // Everything below is what Python's gguf 0.19 reads from the file.
  EXPECT_EQ(file.tensors().size(), 272U);
  EXPECT_EQ(file.metadata().size(), 33U);
  EXPECT_EQ(file.require_string("general.architecture"), "llama");
  EXPECT_EQ(file.require_int("llama.block_count"), 30);
  EXPECT_EQ(file.get_float("llama.rope.freq_base"), 100000.0);
  EXPECT_EQ(file.get_float("llama.attention.layer_norm_rms_epsilon"), 9.999999747378752e-06);
  EXPECT_EQ(file.get_bool("tokenizer.ggml.add_bos_token"), false);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.merges")->size(), 48900U);
  EXPECT_EQ(file.get_strings("tokenizer.ggml.tokens")->at(49151), "ectable");
  EXPECT_EQ(file.get_ints("tokenizer.ggml.token_type")->at(0), 3);
  EXPECT_EQ(file.get_string("tokenizer.chat_template")->size(), 368U);

  struct Expected {
    const char* name;
    DType dtype;
    formats::Shape shape;
    float first;
    const char* sha256;  // of all values as f32
  };
  for (const Expected& e : {
           Expected{"token_embd.weight",
                    DType::kQ8_0,
                    {49152, 576},
                    -0.10654449462890625F,
                    "3fd491c8066dd9dc1a2bf6796701526c82817d95c0ecabacdef3013c2b8bbbaa"},
           Expected{"blk.0.attn_norm.weight",
                    DType::kF32,
                    {576},
                    0.01397705078125F,
                    "2469079d969a361823be8145fa36e15e4c1b933b5261d669357b3deead825cba"},
           Expected{"blk.0.ffn_down.weight",
                    DType::kQ4_1,
                    {576, 1536},
                    -0.330810546875F,
                    "0b78b2226f740ed5594510ed990ea6c2846a6a889ab07cf251e4a489df1d75b0"},
       }) {
    const GgufTensor* tensor = file.find_tensor(e.name);
    ASSERT_NE(tensor, nullptr) << e.name;
    EXPECT_EQ(tensor->view.dtype, e.dtype);
    EXPECT_EQ(tensor->view.shape, e.shape);
    std::vector<float> values(*formats::element_count(e.shape));
    formats::dequantize(e.dtype, tensor->view.data, values);
    EXPECT_EQ(values.front(), e.first);
    Sha256 sha;
    sha.update(std::as_bytes(std::span(values)));
    EXPECT_EQ(sha.hex(), e.sha256) << e.name;
  }
}

TEST(Gguf, IsToldByItsMagicNumber) {
  const testing::TempDir folder;
  write_file(folder / "short", "GGU");
  write_file(folder / "other", "GGML....");
  write_file(folder / "magic", "GGUF");
  EXPECT_FALSE(is_gguf(folder / "absent"));
  EXPECT_FALSE(is_gguf(folder.path()));
  EXPECT_FALSE(is_gguf(folder / "short"));
  EXPECT_FALSE(is_gguf(folder / "other"));
  EXPECT_TRUE(is_gguf(folder / "magic"));
}

TEST(Gguf, APipeIsNoneAndDoesNotBlock) {
  const testing::TempDir folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto ask = [&] {
    ::alarm(60);  // ends the process if it blocks
    std::_Exit(is_gguf(folder / "pipe") ? 1 : 0);
  };
  EXPECT_EXIT(ask(), ::testing::ExitedWithCode(0), "");
}

TEST(Gguf, AMissingFileIsNotFound) {
  try {
    GgufFile::open("/nowhere/model.gguf");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/model.gguf"));
  }
}

}  // namespace
}  // namespace onebit::file
