// A tensor somewhere in memory: type, shape, bytes. Owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/dtype.h"

namespace onebit::formats {

/// Row-major, outermost first: a linear layer's matrix is {out, in}. (GGUF files store the reverse
/// order; readers and writers of files turn it round.)
using Shape = std::vector<std::int64_t>;

/// Product of the dimensions, or nothing on overflow or a negative dimension. {} has one element.
std::optional<std::uint64_t> element_count(const Shape& shape) noexcept;

/// Bytes of a tensor whose last dimension is a whole number of blocks; nothing otherwise.
std::optional<std::uint64_t> byte_count(DType type, const Shape& shape) noexcept;

/// "[576, 1536]"
std::string to_string(const Shape& shape);

struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> data;  ///< byte_count(dtype, shape) bytes, not necessarily aligned

  /// Product of all dimensions but the last.
  std::int64_t rows() const noexcept;
  /// The last dimension.
  std::int64_t cols() const noexcept { return shape.empty() ? 1 : shape.back(); }
  /// Bytes of row i of rows().
  std::span<const std::byte> row(std::int64_t i) const noexcept;
};

}  // namespace onebit::formats
