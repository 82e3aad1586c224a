#include "formats/dequantize.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::formats {
namespace {

struct Record {
  DType type;
  bool encode;
  std::vector<std::byte> stored;
  std::vector<float> values;
};

/// The file's grammar is in tools/golden/make_dequantize.py.
std::vector<Record> read_golden() {
  const std::string file = read_file(testing::golden("dequantize/dequantize.bin"));
  std::size_t at = file.find('\n') + 1;
  EXPECT_TRUE(file.starts_with("onebit dequantize golden"));
  std::vector<Record> records;
  while (at < file.size()) {
    Record record;
    record.type = parse_dtype(file.substr(at, 8).c_str());
    record.encode = file.substr(at + 8, 8).c_str() == std::string("encode");
    std::uint32_t sizes[2];
    std::memcpy(sizes, file.data() + at + 16, sizeof sizes);
    at += 24;
    record.values.resize(sizes[0]);
    record.stored.resize(sizes[1]);
    std::memcpy(record.stored.data(), file.data() + at, sizes[1]);
    at += sizes[1];
    std::memcpy(record.values.data(), file.data() + at, sizes[0] * sizeof(float));
    at += sizes[0] * sizeof(float);
    EXPECT_LE(at, file.size());
    records.push_back(std::move(record));
  }
  return records;
}

TEST(Dequantize, EveryTypeEqualsPythonsGgufBitForBit) {
  std::set<DType> seen;
  for (const Record& record : read_golden()) {
    if (record.encode) continue;
    seen.insert(record.type);
    // One byte further than any alignment: stored bytes need none.
    std::vector<std::byte> shifted(record.stored.size() + 1);
    std::copy(record.stored.begin(), record.stored.end(), shifted.begin() + 1);
    std::vector<float> actual(record.values.size(), -1.0F);
    dequantize(record.type, std::span(shifted).subspan(1), actual);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(record.values[i]),
                std::bit_cast<std::uint32_t>(actual[i]))
          << info(record.type).name << " element " << i << ": " << actual[i] << ", expected "
          << record.values[i];
    }
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(DType::kQ6_K) + 1) << "every DType has a record";
}

TEST(Quantize, BytesEqualPythonsGguf) {
  std::set<DType> seen;
  for (const Record& record : read_golden()) {
    if (!record.encode) continue;
    seen.insert(record.type);
    ASSERT_TRUE(can_quantize(record.type));
    std::vector<std::byte> actual(record.stored.size());
    quantize(record.type, record.values, actual);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(record.stored[i], actual[i]) << info(record.type).name << " byte " << i;
    }
  }
  EXPECT_EQ(seen, (std::set{DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0}));
}

TEST(Quantize, OtherTypesAreUnsupported) {
  const std::vector<float> values(256);
  std::vector<std::byte> bytes(1024);
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    const auto type = static_cast<DType>(i);
    if (can_quantize(type)) continue;
    try {
      quantize(type, values, bytes);
      FAIL() << info(type).name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    }
  }
}

TEST(Quantize, AValueThatDoesNotFitIsAnErrorNamingIt) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  struct Case {
    DType type;
    float value;
    bool fits;
  };
  for (const Case& c : {
           Case{DType::kF16, 65519.0F, true},
           Case{DType::kF16, 65520.0F, false},
           Case{DType::kF16, -65520.0F, false},
           Case{DType::kF16, kInf, true},
           Case{DType::kF16, kNan, true},
           Case{DType::kBF16, 3.3895e38F, true},
           Case{DType::kBF16, 3.4e38F, false},
           Case{DType::kBF16, kNan, true},
           Case{DType::kQ8_0, 65519.0F * 127, true},
           Case{DType::kQ8_0, 65520.0F * 127, false},
           Case{DType::kQ8_0, kInf, false},
           Case{DType::kQ8_0, kNan, false},
           Case{DType::kQ4_0, -65519.0F * 8, true},
           Case{DType::kQ4_0, 65520.0F * 8, false},
           Case{DType::kQ4_0, kInf, false},
       }) {
    std::vector<float> values(64);
    values[37] = c.value;
    const DTypeInfo& type = info(c.type);
    std::vector<std::byte> bytes(values.size() / type.block_size * type.block_bytes);
    try {
      quantize(c.type, values, bytes);
      EXPECT_TRUE(c.fits) << type.name << " " << c.value;
    } catch (const Error& error) {
      EXPECT_FALSE(c.fits) << type.name << " " << c.value;
      EXPECT_EQ(error.code(), ErrorCode::kNumeric);
      EXPECT_EQ(
          std::string(error.what()),
          fmt::format("element 37: found {}, expected a value that {} holds", c.value, type.name));
    }
  }
}

TEST(Quantize, NothingIsNothing) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    quantize(type, {}, {});
    dequantize(type, {}, {});
  }
}

}  // namespace
}  // namespace onebit::formats
