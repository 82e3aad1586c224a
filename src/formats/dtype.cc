#include "formats/dtype.h"

#include <array>
#include <cctype>
#include <fmt/format.h>
#include <string>

#include "base/error.h"
#include "formats/ggml_blocks.h"

namespace onebit::formats {
namespace {

constexpr std::array<DTypeInfo, 18> kInfos = {{
    {"f64", 1, 8},
    {"f32", 1, 4},
    {"f16", 1, 2},
    {"bf16", 1, 2},
    {"i8", 1, 1},
    {"i16", 1, 2},
    {"i32", 1, 4},
    {"i64", 1, 8},
    {"q4_0", kQuantBlock, sizeof(BlockQ4_0)},
    {"q4_1", kQuantBlock, sizeof(BlockQ4_1)},
    {"q5_0", kQuantBlock, sizeof(BlockQ5_0)},
    {"q5_1", kQuantBlock, sizeof(BlockQ5_1)},
    {"q8_0", kQuantBlock, sizeof(BlockQ8_0)},
    {"q2_k", kSuperBlock, sizeof(BlockQ2K)},
    {"q3_k", kSuperBlock, sizeof(BlockQ3K)},
    {"q4_k", kSuperBlock, sizeof(BlockQ4K)},
    {"q5_k", kSuperBlock, sizeof(BlockQ5K)},
    {"q6_k", kSuperBlock, sizeof(BlockQ6K)},
}};

}  // namespace

const DTypeInfo& info(DType type) noexcept { return kInfos[static_cast<std::size_t>(type)]; }

DType parse_dtype(std::string_view name) {
  std::string lower;
  for (const char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string known;
  for (std::size_t i = 0; i < kInfos.size(); ++i) {
    if (kInfos[i].name == lower) return static_cast<DType>(i);
    known += fmt::format("{}{}", i == 0 ? "" : " ", kInfos[i].name);
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("element type: found '{}', expected one of {}", name, known));
}

}  // namespace onebit::formats
