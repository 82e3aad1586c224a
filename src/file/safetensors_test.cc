#include "file/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::file {
namespace {

using formats::DType;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

/// As tools/golden/make_safetensors.py fills a tensor.
std::vector<std::byte> pattern(std::size_t size, std::string_view name) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((37 * i + 11 * name.size() + 5) % 251);
  }
  return bytes;
}

struct Declared {
  std::string name;
  DType dtype;
  formats::Shape shape;
};

/// The tensors that make_safetensors.py writes and this program reads.
const std::vector<Declared> kTensors = {
    {"scalar", DType::kF64, {}},        {"nothing", DType::kF32, {0, 7}},
    {"matrix", DType::kF32, {2, 3}},    {"half", DType::kF16, {5}},
    {"brain", DType::kBF16, {2, 1, 3}}, {"big", DType::kI64, {2}},
    {"int", DType::kI32, {3}},          {"short", DType::kI16, {3}},
    {"byte", DType::kI8, {13}},         {"na\xc3\xafve \"name\"\n", DType::kF32, {1}},
};

void expect_tensor(const SafeTensor* tensor, const Declared& expected) {
  ASSERT_NE(tensor, nullptr) << expected.name;
  EXPECT_EQ(tensor->name, expected.name);
  EXPECT_EQ(tensor->view.dtype, expected.dtype) << expected.name;
  EXPECT_EQ(tensor->view.shape, expected.shape) << expected.name;
  const auto size = *formats::byte_count(expected.dtype, expected.shape);
  EXPECT_TRUE(std::ranges::equal(tensor->view.data, pattern(size, expected.name)));
}

template <class Action>
void expect_error(Action&& action, ErrorCode code, const std::string& message) {
  try {
    action();
    ADD_FAILURE() << "no error: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
  }
}

TEST(Safetensors, ReadsWhatTheReferenceWrote) {
  for (const char* name : {"every_type.safetensors", "every_type_read.safetensors"}) {
    const auto file = SafetensorsFile::open(testing::golden("safetensors") / name);
    EXPECT_THAT(file.tensors(), SizeIs(kTensors.size()));
    for (const Declared& declared : kTensors) expect_tensor(file.find(declared.name), declared);
    EXPECT_THAT(file.metadata(), SizeIs(1));
    EXPECT_THAT(file.metadata().at("provenance"), StartsWith("tools/golden/make_safetensors.py"));
    EXPECT_EQ(file.find("absent"), nullptr);
    EXPECT_FALSE(file.contains("absent"));
    const auto& view = file.find("matrix")->view;
    file.release(view);
    EXPECT_TRUE(std::ranges::equal(view.data, pattern(24, "matrix"))) << "valid after release";
  }
}

TEST(Safetensors, OtherElementTypesAreUnsupportedWhenAskedFor) {
  const auto file = SafetensorsFile::open(testing::golden("safetensors/every_type.safetensors"));
  for (const auto& [name, type] : std::map<std::string, std::string>{{"u8", "U8"},
                                                                     {"u16", "U16"},
                                                                     {"u32", "U32"},
                                                                     {"u64", "U64"},
                                                                     {"bool", "BOOL"},
                                                                     {"e4m3", "F8_E4M3"},
                                                                     {"e5m2", "F8_E5M2"}}) {
    EXPECT_TRUE(file.contains(name));
    expect_error([&, key = name] { file.find(key); }, ErrorCode::kUnsupported,
                 fmt::format("every_type.safetensors: tensor '{}': element type: found '{}', "
                             "expected one of F64 F32",
                             name, type));
  }
}

TEST(SafetensorsWriter, GivesTheBytesOfTheReference) {
  const testing::TempDir folder;
  const auto golden = testing::golden("safetensors/every_type_read.safetensors");
  const auto file = SafetensorsFile::open(golden);
  SafetensorsWriter writer(folder / "again.safetensors");
  for (const auto& [key, value] : file.metadata()) writer.set_metadata(key, value);
  for (const auto& t : file.tensors()) writer.declare(t.name, t.view.dtype, t.view.shape);
  for (const auto& t : file.tensors()) writer.write(t.name, t.view.data);
  EXPECT_FALSE(std::filesystem::exists(folder / "again.safetensors"));
  writer.finish();
  EXPECT_TRUE(read_file(golden) == read_file(folder / "again.safetensors"));
}

TEST(SafetensorsWriter, AnEmptyFileIsAFile) {
  const testing::TempDir folder;
  SafetensorsWriter writer(folder / "empty");
  writer.finish();
  EXPECT_EQ(read_file(folder / "empty"), std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  EXPECT_TRUE(SafetensorsFile::open(folder / "empty").tensors().empty());
  SafetensorsWriter described(folder / "described");
  described.set_metadata("format", "pt");
  described.set_metadata("a\"b", "");
  described.finish();
  const auto file = SafetensorsFile::open(folder / "described");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"a\"b", ""}, {"format", "pt"}}));
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  const testing::TempDir folder;
  SafetensorsWriter writer(folder / "bad");
  writer.declare("taken", DType::kF32, {1});
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  expect_error([&] { writer.declare("taken", DType::kF16, {}); }, kCode, "'taken': declared twice");
  expect_error([&] { writer.declare("q", DType::kQ8_0, {32}); }, kCode, "element type q8_0");
  expect_error([&] { writer.declare("n", DType::kF32, {-1}); }, kCode, "'n': found shape [-1]");
  expect_error([&] { writer.declare("n", DType::kF32, {1LL << 62}); }, kCode, "below 2^64");
  expect_error([&] { writer.declare("__metadata__", DType::kF32, {1}); }, kCode, "reserved");
  expect_error([&] { writer.declare("\xff", DType::kF32, {1}); }, kCode, "'\\xff': found bytes");
  expect_error([&] { writer.set_metadata("k", "\xc3"); }, kCode, "no UTF-8");
  EXPECT_THROW(writer.write("other", pattern(4, "taken")), InternalError);
  EXPECT_THROW(writer.write("taken", pattern(3, "taken")), InternalError);
  EXPECT_THROW(writer.finish(), InternalError);
  writer.write("taken", pattern(4, "taken"));
  EXPECT_THROW(writer.declare("late", DType::kF32, {1}), InternalError);
  writer.finish();
  EXPECT_THAT(SafetensorsFile::open(folder / "bad").tensors(), SizeIs(1));
}

TEST(SafetensorsSet, ReadsShardsByTheirIndex) {
  const auto set = SafetensorsSet::open(testing::golden("safetensors/sharded"));
  EXPECT_THAT(set.files(), SizeIs(2));
  EXPECT_THAT(set.shards(), SizeIs(2));
  EXPECT_EQ(set.files()[1].filename(), "model-00002-of-00002.safetensors");
  for (const Declared& d : kTensors) {
    if (d.name == "matrix" || d.name == "half" || d.name == "byte" || d.name == "brain" ||
        d.name == "scalar") {
      expect_tensor(set.find(d.name), d);
      set.release(set.find(d.name)->view);
      expect_tensor(set.find(d.name), d);
    } else {
      EXPECT_EQ(set.find(d.name), nullptr);
    }
  }
}

/// A folder with one shard a.safetensors (tensor "x") and the given index.
void make_folder(const testing::TempDir& folder, const std::string& index) {
  SafetensorsWriter writer(folder / "a.safetensors");
  writer.declare("x", DType::kF32, {1});
  writer.write("x", pattern(4, "x"));
  writer.finish();
  write_file(folder / "model.safetensors.index.json", index);
}

TEST(SafetensorsSet, PrefersTheSingleFile) {
  const testing::TempDir folder;
  make_folder(folder, "not even JSON");
  std::filesystem::copy(folder / "a.safetensors", folder / "model.safetensors");
  const auto set = SafetensorsSet::open(folder.path());
  expect_tensor(set.find("x"), {"x", DType::kF32, {1}});
  EXPECT_EQ(set.files().front().filename(), "model.safetensors");
}

TEST(SafetensorsSet, AWrongIndexIsAnError) {
  struct Case {
    std::string index;
    ErrorCode code;
    const char* message;
  };
  constexpr auto kCorrupt = ErrorCode::kCorrupt;
  for (const Case& c : {
           Case{"", kCorrupt, "model.safetensors.index.json: found no valid JSON at byte"},
           Case{"{\"weight_map\":", kCorrupt, "found no valid JSON at byte 15"},
           Case{R"({"metadata":1e999})", kCorrupt, "found a number that is too large"},
           Case{"[1]", kCorrupt, "weight_map: not found"},
           Case{"{}", kCorrupt, "weight_map: not found"},
           Case{R"({"weight_map":[]})", kCorrupt, "weight_map: not found, expected an object"},
           Case{R"({"weight_map":{}})", kCorrupt, "weight_map: found no tensors"},
           Case{R"({"weight_map":{"x":1}})", kCorrupt, "tensor 'x': found no string"},
           Case{R"({"weight_map":{"x":"../a.safetensors"}})", kCorrupt,
                "tensor 'x': found '../a.safetensors', expected a file name"},
           Case{R"({"weight_map":{"x":".."}})", kCorrupt, "found '..', expected a file name"},
           Case{R"({"weight_map":{"x":"a.safetensors\u0000"}})", kCorrupt, "expected a file name"},
           Case{R"({"weight_map":{"y":"a.safetensors"}})", kCorrupt,
                "weight_map: tensor 'y': not found in 'a.safetensors'"},
           Case{R"({"weight_map":{"x":"b.safetensors"}})", ErrorCode::kNotFound, "b.safetensors"},
           Case{R"({"weight_map":{"x":"a.safetensors","y":"copy.safetensors"}})", kCorrupt,
                "copy.safetensors: tensor 'x': found in more than one shard"},
           Case{std::string(1 << 20, '['), kCorrupt, "nested deeper than 8 levels"},
       }) {
    const testing::TempDir folder;
    make_folder(folder, c.index);
    SafetensorsWriter copy(folder / "copy.safetensors");
    copy.declare("x", DType::kI8, {1});
    copy.declare("y", DType::kI8, {1});
    copy.write("x", pattern(1, "x"));
    copy.write("y", pattern(1, "y"));
    copy.finish();
    expect_error([&] { SafetensorsSet::open(folder.path()); }, c.code, c.message);
  }
  const testing::TempDir empty;
  expect_error([&] { SafetensorsSet::open(empty.path()); }, ErrorCode::kNotFound,
               "found neither model.safetensors nor model.safetensors.index.json");
}

/// Parses a copy whose end is the allocation's end and reads every byte that the tensors claim.
unsigned parse_and_touch(const std::string& text) {
  const auto copy = std::make_unique<std::byte[]>(text.size());
  std::memcpy(copy.get(), text.data(), text.size());
  const auto file = SafetensorsFile::parse({copy.get(), text.size()}, "t.safetensors");
  unsigned sum = 0;
  for (const SafeTensor& tensor : file.tensors()) {
    for (const std::byte b : tensor.view.data) sum += std::to_integer<unsigned>(b);
  }
  return sum;
}

std::string with_header(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
         std::string(data, '\1');
}

TEST(SafetensorsCorrupt, EveryFaultHasItsMessage) {
  const auto tensor = [](const std::string& shape, const std::string& offsets,
                         const std::string& dtype = "F32") {
    return fmt::format(R"({{"w":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                       offsets);
  };
  const std::string a = R"("a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]})";
  struct Case {
    std::string file;
    const char* message;
  };
  for (const Case& c : {
           Case{"", "header length: found a file of 0 bytes, expected at least 8"},
           Case{"1234567", "found a file of 7 bytes"},
           Case{with_header("{}", 0).replace(0, 1, 1, '\3'), "length: found 3, expected at most 2"},
           Case{std::string("\0\xe1\xf5\5\0\0\0\0{", 9), "found 100000000, expected at most 1"},
           Case{std::string(8, '\xff') + "{}", "found 18446744073709551615, expected at most 2"},
           Case{std::string(8, '\0'), "header: found '', expected '{' first"},
           Case{with_header(" {}", 0), "header: found ' ', expected '{' first"},
           Case{with_header("[]", 0), "header: found '[', expected '{' first"},
           Case{with_header("{]", 0), "header: found no valid JSON at byte 2"},
           Case{with_header("{}x", 0), "header: found no valid JSON at byte 3"},
           Case{with_header(std::string("{}\0", 3), 0),
                "header: found a zero byte at byte 3 of it"},
           Case{with_header("{\"\xff\":1}", 0), "header: found no valid JSON"},
           Case{with_header(R"({"w":1})", 0), "entry 'w': found a number, expected an object"},
           Case{with_header(R"({"w":[]})", 0), "entry 'w': found an array, expected an object"},
           Case{with_header(R"({"w":null})", 0), "entry 'w': found null"},
           Case{with_header(R"({"w":true})", 0), "entry 'w': found a boolean"},
           Case{with_header(R"({"w":"s"})", 0), "entry 'w': found a string"},
           Case{with_header(R"({"w":{}})", 0), "'w': expected dtype, shape and data_offsets"},
           Case{with_header(R"({"w":{"dtype":{}}})", 0), "found an object as 'dtype'"},
           Case{with_header(R"({"w":{"dtype":[1]}})", 0), "found an array as 'dtype'"},
           Case{with_header(R"({"w":{"shape":3}})", 0), "found a number as 'shape'"},
           Case{with_header(R"({"w":{"other":"s"}})", 0), "found a string as 'other'"},
           Case{with_header(R"({"w":{"shape":[[1]]}})", 0), "found an array"},
           Case{with_header(R"({"w":{"dtype":"F32","dtype":"F32"}})", 0), "found dtype twice"},
           Case{with_header(R"({"w":{"shape":[],"shape":[]}})", 0), "found shape twice"},
           Case{with_header(R"({"__metadata__":{"a":1}})", 0), "'__metadata__': found a number"},
           Case{with_header(R"({"__metadata__":{"a":{}}})", 0), "'__metadata__': found an object"},
           Case{with_header(R"({"__metadata__":{"a":"","a":""}})", 0), "found 'a' twice"},
           Case{with_header(R"({"__metadata__":{},"__metadata__":{}})", 0), "found it twice"},
           Case{with_header(tensor("[-1]", "[0,4]"), 4), "shape: found a negative number"},
           Case{with_header(tensor("[1.5]", "[0,4]"), 4), "no 64-bit unsigned integer"},
           Case{with_header(tensor("[1e2]", "[0,4]"), 4), "no 64-bit unsigned integer"},
           Case{with_header(tensor("[99999999999999999999]", "[0,4]"), 4), "no 64-bit unsigned"},
           Case{with_header(tensor("[9223372036854775808,0]", "[0,0]"), 0),
                "tensor 'w': dimension: found 9223372036854775808"},
           Case{with_header(tensor("[4294967296,4294967296]", "[0,0]"), 0), "size that overflows"},
           Case{with_header(tensor("[1]", "[0]"), 4), "data_offsets: found 1 numbers, expected 2"},
           Case{with_header(tensor("[1]", "[0,4,4]"), 4), "found 3 numbers, expected 2"},
           Case{with_header(tensor("[2]", "[0,4]"), 4), "found 4 bytes, expected 64 bits for F32"},
           Case{with_header(tensor("[3]", "[0,1]", "F4"), 1), "found 1 bytes, expected 12 bits"},
           Case{with_header(tensor("[1]", "[4,8]"), 8), "found [4, 8], expected to begin at 0"},
           Case{with_header(tensor("[1]", "[0,4]"), 3), "an end within the 3 bytes of data"},
           Case{with_header(tensor("[1]", "[0,4]"), 5), "data: found 5 bytes, expected 4"},
           Case{with_header("{}", 1), "data: found 1 bytes, expected 0"},
           Case{
               with_header("{" + a + R"(,"b":{"dtype":"I8","shape":[4],"data_offsets":[3,7]}})", 7),
               "tensor 'b': data_offsets: found [3, 7], expected to begin at 4"},
           Case{
               with_header("{" + a + R"(,"b":{"dtype":"I8","shape":[4],"data_offsets":[5,9]}})", 9),
               "found [5, 9], expected to begin at 4, without hole or overlap"},
           Case{
               with_header("{" + a + R"(,"b":{"dtype":"I8","shape":[4],"data_offsets":[4,3]}})", 4),
               "found [4, 3]"},
           Case{
               with_header("{" + a + R"(,"a":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})", 8),
               "tensor 'a': found the name twice"},
           Case{
               with_header("{" + a + R"(,"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8),
               "tensor 'a': found the name twice"},
           Case{with_header("{\"a\":" + std::string(1 << 20, '['), 0), "entry 'a': found an array"},
           Case{with_header("{\"a\":" + std::string(1 << 20, '{'), 0), "found no valid JSON"},
       }) {
    expect_error([&] { parse_and_touch(c.file); }, ErrorCode::kCorrupt, c.message);
  }
}

TEST(SafetensorsCorrupt, LegalOdditiesAreRead) {
  parse_and_touch(with_header("{}   \n\t", 0));
  parse_and_touch(with_header(R"({"w":{"dtype":"F99","shape":[7],"data_offsets":[0,3]}})", 3));
  parse_and_touch(with_header(R"({"w":{"shape":[2],"data_offsets":[0,1],"dtype":"F4"}})", 1));
}

TEST(SafetensorsCorrupt, EveryTruncationIsAnError) {
  const std::string golden = read_file(testing::golden("safetensors/every_type.safetensors"));
  for (std::size_t size = 0; size < golden.size(); ++size) {
    EXPECT_THROW(parse_and_touch(golden.substr(0, size)), Error) << size;
  }
  EXPECT_THROW(parse_and_touch(golden + "x"), Error);
}

TEST(SafetensorsCorrupt, AFlippedByteIsAnErrorOrAnotherValidFile) {
  const std::string golden = read_file(testing::golden("safetensors/every_type.safetensors"));
  std::uint64_t length = 0;
  std::memcpy(&length, golden.data(), sizeof length);
  int errors = 0;
  for (std::size_t at = 0; at < 8 + length; ++at) {
    for (const int mask : {0x01, 0x10, 0x80, 0xFF}) {
      std::string damaged = golden;
      damaged[at] = static_cast<char>(damaged[at] ^ mask);
      try {
        parse_and_touch(damaged);
      } catch (const Error& error) {
        ++errors;
        EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
      }
    }
  }
  EXPECT_GT(errors, 2000);
}

}  // namespace
}  // namespace onebit::file
