// Conversion between stored elements and f32: the readable reference for every type, exactly as
// Python's `gguf` package computes it (golden test: dequantize_test.cc).
#pragma once

#include <cstddef>
#include <span>

#include "formats/dtype.h"

namespace onebit::formats {

/// dst[i] = value of element i. `src` holds dst.size() elements, a whole number of blocks, in any
/// alignment. Integer types convert by value; f64 rounds. Throws nothing.
void dequantize(DType type, std::span<const std::byte> src, std::span<float> dst) noexcept;

/// Types that `quantize` can write: f32, f16, bf16, q8_0, q4_0.
bool can_quantize(DType type) noexcept;

/// The inverse, for the types above; q8_0: d = max|w| / 127 in f32, q = round(w · (1 / d)) with
/// halves away from zero, then d as binary16; q4_0: d = m / -8, m the value of largest magnitude,
/// q = min(15, ⌊w · (1 / d) + 8.5⌋). dst must hold exactly the bytes of src.size()
/// elements. Throws Error{kUnsupported} for other types and Error{kNumeric} for a finite value
/// that the type cannot hold, or for infinity or NaN in q8_0 (plain types keep them).
void quantize(DType type, std::span<const float> src, std::span<std::byte> dst);

}  // namespace onebit::formats
