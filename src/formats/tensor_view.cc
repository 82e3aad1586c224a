#include "formats/tensor_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/checked.h"

namespace onebit::formats {

std::optional<std::uint64_t> element_count(const Shape& shape) noexcept {
  std::uint64_t count = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    const auto product = checked_mul(count, static_cast<std::uint64_t>(dim));
    if (!product) return std::nullopt;
    count = *product;
  }
  return count;
}

std::optional<std::uint64_t> byte_count(DType type, const Shape& shape) noexcept {
  const DTypeInfo& t = info(type);
  const std::int64_t cols = shape.empty() ? 1 : shape.back();
  if (cols < 0 || cols % t.block_size != 0) return std::nullopt;
  const auto count = element_count(shape);
  if (!count) return std::nullopt;
  return checked_mul(*count / t.block_size, t.block_bytes);
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::int64_t TensorView::rows() const noexcept {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

std::span<const std::byte> TensorView::row(std::int64_t i) const noexcept {
  const DTypeInfo& t = info(dtype);
  const auto bytes =
      static_cast<std::size_t>(cols()) / t.block_size * static_cast<std::size_t>(t.block_bytes);
  return data.subspan(static_cast<std::size_t>(i) * bytes, bytes);
}

}  // namespace onebit::formats
