// What reader and writer of safetensors share: element types and limits.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/dtype.h"

namespace onebit::file {

// Numbers are copied between file and memory as they are.
static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

/// The reference implementation's bound on the header (MAX_HEADER_SIZE).
inline constexpr std::uint64_t kSafetensorsMaxHeader = 100'000'000;

inline constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct SafetensorsType {
  std::string_view name;
  std::uint32_t bits;                   ///< per element
  std::optional<formats::DType> dtype;  ///< nothing: known to the format, not to this program
};

inline constexpr std::array<SafetensorsType, 23> kSafetensorsTypes = {{
    {"F64", 64, formats::DType::kF64}, {"F32", 32, formats::DType::kF32},
    {"F16", 16, formats::DType::kF16}, {"BF16", 16, formats::DType::kBF16},
    {"I64", 64, formats::DType::kI64}, {"I32", 32, formats::DType::kI32},
    {"I16", 16, formats::DType::kI16}, {"I8", 8, formats::DType::kI8},
    {"U64", 64, std::nullopt},         {"U32", 32, std::nullopt},
    {"U16", 16, std::nullopt},         {"U8", 8, std::nullopt},
    {"BOOL", 8, std::nullopt},         {"C64", 64, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},      {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},      {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},  {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},      {"F4", 4, std::nullopt},
    {"F4_E2M1", 4, std::nullopt},
}};

/// File name to the tensors that an index says it holds.
using WeightMap = std::map<std::string, std::vector<std::string>>;

/// Parses the text of a model.safetensors.index.json; `where` names the file in messages. The file
/// names are names only, not paths. Throws Error{kCorrupt}.
WeightMap parse_weight_map(std::string_view json, std::string_view where);

}  // namespace onebit::file
