// The element types of stored tensors. Quantised types are blocks, laid out as GGUF defines them.
#pragma once

#include <cstdint>
#include <string_view>

namespace onebit::formats {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI8,
  kI16,
  kI32,
  kI64,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

struct DTypeInfo {
  std::string_view name;      ///< as users type it: "f16", "q4_1", "q6_k"
  std::uint32_t block_size;   ///< elements per block; 1 for plain types
  std::uint32_t block_bytes;  ///< bytes per block
};

const DTypeInfo& info(DType type) noexcept;

/// Case-insensitive. Throws Error{kInvalidArgument} naming the known types.
DType parse_dtype(std::string_view name);

}  // namespace onebit::formats
