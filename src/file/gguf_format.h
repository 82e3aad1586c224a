// The numbers of the GGUF format that its reader and its writer share.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "file/gguf.h"
#include "formats/dtype.h"

namespace onebit::file {

// Numbers are copied between file and memory as they are.
static_assert(std::endian::native == std::endian::little, "GGUF files are little endian");

inline constexpr std::string_view kGgufMagic = "GGUF";
inline constexpr std::uint32_t kGgufVersion = 3;
inline constexpr std::uint32_t kGgufDefaultAlignment = 32;
inline constexpr std::string_view kGgufAlignmentKey = "general.alignment";
inline constexpr std::uint32_t kGgufMaxDims = 4;

/// Real files nest one array inside another at most; the bound keeps recursion off the stack limit.
inline constexpr int kGgufMaxArrayDepth = 8;

using GgufAlternatives = decltype(GgufValue::value);

/// GGUF's type id of a value or of an array's elements is the index of the variant's alternative.
inline constexpr std::size_t kGgufTypes = std::variant_size_v<GgufAlternatives>;
static_assert(kGgufTypes == std::variant_size_v<GgufArray>);
inline constexpr std::size_t kGgufTypeU32 = 4;
static_assert(
    std::is_same_v<std::variant_alternative_t<kGgufTypeU32, GgufAlternatives>, std::uint32_t>);

/// As messages call them, in the order of the ids.
inline constexpr std::array<std::string_view, kGgufTypes> kGgufTypeNames = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

/// Element types of tensors: ggml's ids.
inline constexpr std::array<std::pair<std::uint32_t, formats::DType>, 18> kGgmlTypes = {{
    {0, formats::DType::kF32},
    {1, formats::DType::kF16},
    {2, formats::DType::kQ4_0},
    {3, formats::DType::kQ4_1},
    {6, formats::DType::kQ5_0},
    {7, formats::DType::kQ5_1},
    {8, formats::DType::kQ8_0},
    {10, formats::DType::kQ2_K},
    {11, formats::DType::kQ3_K},
    {12, formats::DType::kQ4_K},
    {13, formats::DType::kQ5_K},
    {14, formats::DType::kQ6_K},
    {24, formats::DType::kI8},
    {25, formats::DType::kI16},
    {26, formats::DType::kI32},
    {27, formats::DType::kI64},
    {28, formats::DType::kF64},
    {30, formats::DType::kBF16},
}};

}  // namespace onebit::file
