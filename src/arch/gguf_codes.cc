#include "arch/gguf_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>

#include "arch/packed_format.h"
#include "base/error.h"
#include "formats/dequantize.h"

namespace onebit::arch {
namespace {

using formats::DType;

std::string named(const std::string& base, std::string_view suffix) {
  return base + std::string(suffix);
}

const file::GgufTensor& require(const file::GgufFile& gguf, const std::string& name,
                                const formats::Shape& shape, std::span<const DType> types) {
  const file::GgufTensor* tensor = gguf.find_tensor(name);
  if (tensor == nullptr) {
    throw Error(ErrorCode::kNotFound, fmt::format("{}: tensor {} is absent", gguf.name(), name));
  }
  check_shape(gguf.name(), name, tensor->view.shape, shape);
  if (std::find(types.begin(), types.end(), tensor->view.dtype) == types.end()) {
    std::string expected;
    for (const DType type : types) {
      expected += (expected.empty() ? "" : " or ") + std::string(formats::info(type).name);
    }
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: tensor {}: found type {}, expected {}", gguf.name(), name,
                            formats::info(tensor->view.dtype).name, expected));
  }
  return *tensor;
}

/// Of a tensor of i32.
std::vector<std::int32_t> integers(const formats::TensorView& view) {
  std::vector<std::int32_t> values(view.data.size() / sizeof(std::int32_t));
  std::memcpy(values.data(), view.data.data(), view.data.size());
  return values;
}

constexpr DType kScaleTypes[] = {DType::kF16, DType::kF32};
constexpr DType kZeroTypes[] = {DType::kI8, DType::kI16};
constexpr DType kI8[] = {DType::kI8};
constexpr DType kI32[] = {DType::kI32};

[[noreturn]] void corrupt(const std::string& file, const std::string& name,
                          const std::string& what) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: tensor {}: {}", file, name, what));
}

void check_ends(const StoredCodes& stored, const std::vector<std::int32_t>& ends,
                const std::string& file) {
  std::int32_t before = 0;
  for (const std::int32_t end : ends) {
    if (end <= before || end > stored.in) {
      corrupt(file, named(stored.name, kGroupsSuffix),
              fmt::format("found a group that ends with column {}, expected {} to {}", end,
                          before + 1, stored.in));
    }
    before = end;
  }
  if (before != stored.in) {
    corrupt(
        file, named(stored.name, kGroupsSuffix),
        fmt::format("found a last group that ends with column {}, expected {}", before, stored.in));
  }
}

void check_order(const StoredCodes& stored, const std::vector<std::int32_t>& order,
                 const std::string& file) {
  std::vector<bool> seen(order.size(), false);
  for (const std::int32_t input : order) {
    if (input < 0 || input >= stored.in || seen[static_cast<std::size_t>(input)]) {
      corrupt(file, named(stored.name, kOrderSuffix),
              fmt::format("found input {}, expected each of 0 to {} once", input, stored.in - 1));
    }
    seen[static_cast<std::size_t>(input)] = true;
  }
}

std::vector<float> finite(const StoredCodes& stored, const formats::TensorView& view,
                          std::string_view suffix, const std::string& file) {
  std::vector<float> values(*formats::element_count(view.shape));
  formats::dequantize(view.dtype, view.data, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      corrupt(file, named(stored.name, suffix),
              fmt::format("element {}: found {}, expected a finite number", i, values[i]));
    }
  }
  return values;
}

std::vector<ProductKind> read_kinds(const StoredCodes& stored, const std::string& file) {
  std::vector<ProductKind> kinds;
  kinds.reserve(stored.kinds->data.size());
  for (const std::byte byte : stored.kinds->data) {
    const auto kind = static_cast<ProductKind>(byte);
    if (kind != ProductKind::kOneOf && kind != ProductKind::kSum) {
      corrupt(file, named(stored.name, kKindsSuffix),
              fmt::format("group {}: found kind {}, expected 0 or 1", kinds.size(),
                          static_cast<int>(kind)));
    }
    kinds.push_back(kind);
  }
  return kinds;
}

void check_padding(const StoredCodes& stored, const formats::CodesView& codes,
                   const std::string& file) {
  const std::int64_t used = codes.cols * codes.bits;
  for (std::int64_t r = 0; r < codes.rows; ++r) {
    const std::byte* row = codes.row(r);
    bool clean = used % 8 == 0 || std::to_integer<unsigned>(row[used / 8]) >> (used % 8) == 0;
    for (std::int64_t b = (used + 7) / 8; b < codes.row_bytes(); ++b) {
      clean = clean && row[b] == std::byte{0};
    }
    if (clean) continue;
    corrupt(file, named(stored.name, kCodesSuffix),
            fmt::format("row {}: found one bits after column {}, expected zero padding", r,
                        codes.cols));
  }
}

}  // namespace

StoredCodes find_codes(const file::GgufFile& gguf, const std::string& base,
                       const formats::Shape& shape) {
  const std::int64_t out = shape[0];
  StoredCodes stored;
  stored.name = base;
  stored.in = shape[1];
  const std::string groups_name = named(base, kGroupsSuffix);
  const file::GgufTensor* groups = gguf.find_tensor(groups_name);
  const std::int64_t words = groups != nullptr && groups->view.shape.size() == 1
                                 ? groups->view.shape[0]
                                 : 2;  // what is wrong is said below
  stored.groups = require(gguf, groups_name, {std::max<std::int64_t>(words, 2)}, kI32).view;
  const std::vector<std::int32_t> header = integers(stored.groups);
  stored.bits = header.front();
  if (stored.bits < 1 || stored.bits > formats::kMaxCodeBits) {
    corrupt(gguf.name(), groups_name,
            fmt::format("found codes of {} bits, expected 1 to {}", stored.bits,
                        formats::kMaxCodeBits));
  }
  const std::int64_t count = words - 1;
  stored.codes = require(gguf, named(base, kCodesSuffix),
                         {out, formats::codes_row_bytes(stored.in, stored.bits)}, kI8)
                     .view;
  const bool products = gguf.find_tensor(named(base, kRowScaleSuffix)) != nullptr;
  if (products) {
    if (stored.bits != 2) {
      corrupt(gguf.name(), groups_name,
              fmt::format("found codes of {} bits, expected 2 beside {}", stored.bits,
                          named(base, kRowScaleSuffix)));
    }
    stored.row_scale =
        require(gguf, named(base, kRowScaleSuffix), {out, count, 2}, kScaleTypes).view;
    stored.kinds = require(gguf, named(base, kKindsSuffix), {count}, kI8).view;
    stored.in_scale = require(gguf, named(base, kInScaleSuffix), {2, stored.in}, kScaleTypes).view;
  } else if (gguf.find_tensor(named(base, kLevelsSuffix)) != nullptr) {
    stored.levels = require(gguf, named(base, kLevelsSuffix),
                            {out, count, std::int64_t{1} << stored.bits}, kScaleTypes)
                        .view;
  } else {
    stored.scale = require(gguf, named(base, kScaleSuffix), {out, count}, kScaleTypes).view;
    if (gguf.find_tensor(named(base, kZeroSuffix)) != nullptr) {
      stored.zero = require(gguf, named(base, kZeroSuffix), {out, count}, kZeroTypes).view;
    }
  }
  if (gguf.find_tensor(named(base, kOrderSuffix)) != nullptr) {
    stored.order = require(gguf, named(base, kOrderSuffix), {stored.in}, kI32).view;
  }
  if (!products && gguf.find_tensor(named(base, kInScaleSuffix)) != nullptr) {
    stored.in_scale = require(gguf, named(base, kInScaleSuffix), {stored.in}, kScaleTypes).view;
  }
  return stored;
}

std::vector<std::string> tensor_names(const StoredCodes& stored) {
  std::vector<std::string> names = {named(stored.name, kCodesSuffix),
                                    named(stored.name, kGroupsSuffix)};
  if (stored.levels) names.push_back(named(stored.name, kLevelsSuffix));
  if (stored.scale) names.push_back(named(stored.name, kScaleSuffix));
  if (stored.zero) names.push_back(named(stored.name, kZeroSuffix));
  if (stored.row_scale) names.push_back(named(stored.name, kRowScaleSuffix));
  if (stored.kinds) names.push_back(named(stored.name, kKindsSuffix));
  if (stored.order) names.push_back(named(stored.name, kOrderSuffix));
  if (stored.in_scale) names.push_back(named(stored.name, kInScaleSuffix));
  return names;
}

CodeMatrix read_codes(const StoredCodes& stored, const std::string& file) {
  CodeMatrix matrix;
  matrix.codes = {stored.codes.data.data(), stored.codes.rows(), stored.in, stored.bits};
  check_padding(stored, matrix.codes, file);
  matrix.ends = integers(stored.groups);
  matrix.ends.erase(matrix.ends.begin());
  check_ends(stored, matrix.ends, file);
  if (stored.levels) {
    matrix.levels = finite(stored, *stored.levels, kLevelsSuffix, file);
  } else if (stored.row_scale) {
    matrix.row_scale = finite(stored, *stored.row_scale, kRowScaleSuffix, file);
    matrix.kinds = read_kinds(stored, file);
  } else {
    matrix.scale = finite(stored, *stored.scale, kScaleSuffix, file);
    matrix.zero.assign(matrix.scale.size(), symmetric_zero(stored.bits));
  }
  if (stored.zero) {
    const float least = stored.zero->dtype == DType::kI8 ? kZeroOffset : 0.0F;
    formats::dequantize(stored.zero->dtype, stored.zero->data, matrix.zero);
    for (float& zero : matrix.zero) zero += least;
  }
  if (stored.order) {
    matrix.order = integers(*stored.order);
    check_order(stored, matrix.order, file);
  }
  if (stored.in_scale) matrix.in_scale = finite(stored, *stored.in_scale, kInScaleSuffix, file);
  return matrix;
}

}  // namespace onebit::arch
