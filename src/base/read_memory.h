// Reading memory and doing nothing with it: what products that wait for memory are measured by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace onebit {

/// Whether lines are asked for 4 KiB before they are read. Cores whose own prefetchers stop at the
/// end of a page or a cache full of requests read faster by it, others slower.
enum class ReadAhead : bool { kNo, kYes };

/// Reads every whole 128 bytes of `memory`, aligned to 64, in order. Returns a sum that depends on
/// all of them, which the caller must use, or the reading may be left out.
std::uint64_t read_memory(std::span<const std::byte> memory, ReadAhead ahead) noexcept;

}  // namespace onebit
