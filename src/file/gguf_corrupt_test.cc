// Damaged GGUF files: every specific fault has its message, and no truncation or flipped byte does
// more than throw.
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <memory>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "file/gguf.h"

namespace onebit::file {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// A file put together number by number.
class Raw {
 public:
  explicit Raw(std::string_view magic = "GGUF") : text_(magic) {}
  Raw& u8(std::uint8_t v) { return put(v); }
  Raw& u32(std::uint32_t v) { return put(v); }
  Raw& u64(std::uint64_t v) { return put(v); }
  Raw& string(std::string_view s) {
    u64(s.size());
    text_ += s;
    return *this;
  }
  /// Version 3 and the two counts.
  Raw& counts(std::uint64_t tensors, std::uint64_t metadata) {
    return u32(3).u64(tensors).u64(metadata);
  }
  Raw& tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
              std::uint64_t offset) {
    string(name).u32(static_cast<std::uint32_t>(dims.size()));
    for (const std::uint64_t dim : dims) u64(dim);
    return u32(type).u64(offset);
  }
  /// Zeros up to a multiple of `alignment`, then `size` bytes.
  Raw& data(std::size_t size, std::size_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment + size);
    return *this;
  }
  // Implicit, so that a table of files reads as one.
  operator std::string() const { return text_; }  // NOLINT(google-explicit-constructor)

 private:
  template <class T>
  Raw& put(T v) {
    text_.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  std::string text_;
};

/// Parses a copy whose end is the allocation's end (AddressSanitizer sees any read beyond it), and
/// reads every byte that the tensors claim.
unsigned parse_and_touch(const std::string& text) {
  const auto copy = std::make_unique<std::byte[]>(text.size());
  std::memcpy(copy.get(), text.data(), text.size());
  const GgufFile file = GgufFile::parse({copy.get(), text.size()}, "t.gguf");
  unsigned sum = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    for (const std::byte b : tensor.view.data) sum += std::to_integer<unsigned>(b);
  }
  return sum;
}

constexpr std::uint32_t kU8 = 0, kU32 = 4, kBool = 7, kString = 8, kArray = 9, kU64 = 10;
constexpr std::uint32_t kF32 = 0, kQ8_0 = 8, kIq2 = 16;

struct Fault {
  const char* name;
  std::string file;
  ErrorCode code;
  std::vector<const char*> messages;
};

std::string nested_arrays(int depth) {
  Raw raw;
  raw.counts(0, 1).string("k").u32(kArray);
  for (int i = 1; i < depth; ++i) raw.u32(kArray).u64(1);
  return raw.u32(kU8).u64(0);
}

std::string alignment(std::uint32_t value) {
  return Raw().counts(0, 1).string("general.alignment").u32(kU32).u32(value).data(64);
}

std::vector<Fault> faults() {
  constexpr auto kCorrupt = ErrorCode::kCorrupt;
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const auto one = [](const std::vector<std::uint64_t>& dims, std::uint32_t type,
                      std::uint64_t offset, std::size_t size) -> std::string {
    return Raw().counts(1, 0).tensor("w", dims, type, offset).data(size);
  };
  return {
      {"empty file", "", kCorrupt, {"header: magic number: found '', expected 'GGUF'"}},
      {"magic", Raw("GGML").u32(3), kCorrupt, {"magic number: found 'GGML', expected 'GGUF'"}},
      {"half a magic", "GG", kCorrupt, {"found 'GG', expected 'GGUF'"}},
      {"no version", "GGUF", kCorrupt, {"version: found 0 bytes before the end", "expected 4"}},
      {"version 1", Raw().u32(1), kUnsupported, {"found GGUF version 1, expected 2 or 3"}},
      {"version 4", Raw().u32(4), kUnsupported, {"found GGUF version 4, expected 2 or 3"}},
      {"version 0", Raw().u32(0), kUnsupported, {"found GGUF version 0, expected 2 or 3"}},
      {"big endian", Raw().u32(0x03000000), kUnsupported, {"version 3 in big-endian byte order"}},
      {"tensor count",
       Raw().counts(kHuge, 0),
       kCorrupt,
       {"number of tensors: found 18446744073709551615, expected at most 0 in the 8 bytes left"}},
      {"metadata count",
       Raw().counts(0, 1),
       kCorrupt,
       {"number of metadata entries: found 1, expected at most 0"}},
      {"key length",
       Raw().counts(0, 1).u64(kHuge).data(64),
       kCorrupt,
       {"metadata entry 1 of 1: key: found", "expected 18446744073709551615"}},
      {"value type",
       Raw().counts(0, 1).string("k").u32(13).data(64),
       kCorrupt,
       {"metadata 'k': value type: found 13, expected 0 to 12"}},
      {"array element type",
       Raw().counts(0, 1).string("k").u32(kArray).u32(99).data(64),
       kCorrupt,
       {"metadata 'k': value type: found 99, expected 0 to 12"}},
      {"bool",
       Raw().counts(0, 1).string("k").u32(kBool).u8(2),
       kCorrupt,
       {"metadata 'k': bool: found 2, expected 0 or 1"}},
      {"string value",
       Raw().counts(0, 1).string("k").u32(kString).u64(9).u64(0),
       kCorrupt,
       {"metadata 'k': string: found 8 bytes before the end of the file, expected 9"}},
      {"array of numbers",
       Raw().counts(0, 1).string("k").u32(kArray).u32(kU64).u64(1ULL << 61).u64(0),
       kCorrupt,
       {"metadata 'k': array length: found 2305843009213693952, expected at most 1"}},
      {"array of strings",
       Raw().counts(0, 1).string("k").u32(kArray).u32(kString).u64(3).u64(0).u64(0),
       kCorrupt,
       {"metadata 'k': array length: found 3, expected at most 2 in the 16 bytes left"}},
      {"array of arrays",
       Raw().counts(0, 1).string("k").u32(kArray).u32(kArray).u64(2).u64(0).u64(0),
       kCorrupt,
       {"metadata 'k': array length: found 2, expected at most 1"}},
      {"nesting", nested_arrays(9), kUnsupported, {"metadata 'k': arrays nest deeper than the 8"}},
      {"duplicate key",
       Raw().counts(0, 2).string("k").u32(kU32).u32(1).string("k").u32(kBool).u8(0),
       kCorrupt,
       {"metadata 'k': found the key twice"}},
      {"alignment 0", alignment(0), kCorrupt, {"'general.alignment': found 0, expected a power"}},
      {"alignment 48", alignment(48), kCorrupt, {"found 48, expected a power of two"}},
      {"alignment's type",
       Raw().counts(0, 1).string("general.alignment").u32(kU64).u64(32),
       kCorrupt,
       {"metadata 'general.alignment': found u64, expected u32"}},
      {"tensor name",
       Raw().counts(1, 0).u64(100).data(64),
       kCorrupt,
       {"tensor 1 of 1: name: found", "expected 100"}},
      {"five dimensions",
       one({1, 1, 1, 1, 1}, kF32, 0, 64),
       kCorrupt,
       {"tensor 'w': found 5 dimensions, expected at most 4"}},
      {"dimension 0",
       one({3, 0}, kF32, 0, 64),
       kCorrupt,
       {"'w': dimension 1: found 0, expected 1"}},
      {"huge dimension",
       one({1ULL << 63}, kF32, 0, 64),
       kCorrupt,
       {"dimension 0: found 9223372036854775808, expected 1 to 2^63-1"}},
      {"overflowing shape",
       one({1ULL << 32, 1ULL << 32, 2}, kF32, 0, 64),
       kCorrupt,
       {"tensor 'w': shape [2, 4294967296, 4294967296] of f32: found a size that overflows"}},
      {"overflowing bytes",
       one({1ULL << 62}, kF32, 0, 64),
       kCorrupt,
       {"found a size that overflows"}},
      {"half a block",
       one({48, 2}, kQ8_0, 0, 64),
       kCorrupt,
       {"tensor 'w': innermost dimension: found 48, expected a multiple of 32 for q8_0"}},
      {"unknown type",
       one({256}, kIq2, 0, 256),
       kUnsupported,
       {"tensor 'w': element type: found id 16, expected one of 0 (f32) 1 (f16)"}},
      {"misaligned offset",
       one({4}, kF32, 16, 64),
       kCorrupt,
       {"tensor 'w': offset: found 16, expected a multiple of 32"}},
      {"data beyond the end",
       one({17}, kF32, 0, 64),
       kCorrupt,
       {"tensor 'w': found 68 bytes at offset 0, expected at most 64 bytes of data"}},
      {"offset beyond the end", one({1}, kF32, 64, 64), kCorrupt, {"found 4 bytes at offset 64"}},
      {"overflowing offset",
       one({8}, kF32, kHuge - 31, 64),
       kCorrupt,
       {"found 32 bytes at offset 18446744073709551584"}},
      {"no data at all",
       Raw().counts(1, 0).tensor("w", {1}, kF32, 0),
       kCorrupt,
       {"expected at most 0 bytes of data"}},
      {"overlap",
       Raw().counts(2, 0).tensor("b", {1}, kF32, 32).tensor("a", {9}, kF32, 0).data(64),
       kCorrupt,
       {"tensor 'b': offset: found 32, expected at least 36: it overlaps tensor 'a'"}},
      {"duplicate tensor",
       Raw().counts(2, 0).tensor("a", {1}, kF32, 0).tensor("a", {1}, kF32, 32).data(64),
       kCorrupt,
       {"tensor 'a': found the name twice, expected it once"}},
      {"a name that is no text",
       Raw().counts(1, 0).tensor("a\n\xff", {0}, kF32, 0).data(64),
       kCorrupt,
       {"tensor 'a\\x0a\\xff': dimension 0"}},
  };
}

TEST(GgufCorrupt, EveryFaultHasItsMessage) {
  for (const Fault& fault : faults()) {
    try {
      parse_and_touch(fault.file);
      ADD_FAILURE() << "no error: " << fault.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), fault.code) << fault.name << ": " << error.what();
      EXPECT_THAT(error.what(), StartsWith("t.gguf: ")) << fault.name;
      EXPECT_THAT(error.what(), Not(HasSubstr("\n"))) << fault.name;
      for (const char* message : fault.messages) EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
}

TEST(GgufCorrupt, LegalOdditiesAreRead) {
  parse_and_touch(Raw().u32(2).u64(0).u64(0));  // version 2, ends behind the header
  parse_and_touch(nested_arrays(8));            // as deep as is allowed
  parse_and_touch(alignment(1));                // a power of two
  parse_and_touch(alignment(1U << 31));         // data begins beyond the end: no tensors
  parse_and_touch(Raw().counts(2, 0).tensor("b", {8}, kF32, 64).tensor("a", {8}, kF32, 0).data(96));
}

TEST(GgufCorrupt, EveryTruncationIsAnError) {
  const std::string golden = read_file(testing::golden("gguf/every_type.gguf"));
  constexpr std::size_t kLastPadding = 448 - 2 * 210;  // behind the last tensor: two blocks of q6_k
  ASSERT_EQ(golden.size() % 64, 0U);
  for (std::size_t size = 0; size < golden.size(); ++size) {
    const std::string part = golden.substr(0, size);
    if (size >= golden.size() - kLastPadding) {
      EXPECT_NO_THROW(parse_and_touch(part)) << size;
      continue;
    }
    try {
      parse_and_touch(part);
      ADD_FAILURE() << "no error at " << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << size << ": " << error.what();
    }
  }
}

TEST(GgufCorrupt, AFlippedByteIsAnErrorOrAnotherValidFile) {
  const std::string golden = read_file(testing::golden("gguf/every_type.gguf"));
  const GgufFile file = GgufFile::open(testing::golden("gguf/every_type.gguf"));
  const auto header =
      static_cast<std::size_t>(file.tensors()[0].view.data.data() - file.bytes().data());
  int errors = 0;
  for (std::size_t at = 0; at < header; ++at) {
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
  EXPECT_GT(errors, 1000);  // lengths, types, counts, names: far more than the magic number
}

}  // namespace
}  // namespace onebit::file
