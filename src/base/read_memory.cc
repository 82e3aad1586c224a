#include "base/read_memory.h"

namespace onebit {
namespace {

constexpr std::int64_t kAheadBytes = 4096;
constexpr int kIntoL2 = 2;  // what waits for L1's few buffers would read no faster than without

// 32 bytes a load keep any core's load ports ahead of its memory; four sums hide the add's latency.
using Vector = std::uint64_t __attribute__((vector_size(32)));
constexpr std::int64_t kStep = 4 * static_cast<std::int64_t>(sizeof(Vector));

template <ReadAhead kAhead>
std::uint64_t sum(const std::byte* p, std::int64_t steps) noexcept {
  // Named, since an array of them would live in memory, and its stores take longer than the reads.
  Vector a = {};
  Vector b = {};
  Vector c = {};
  Vector d = {};
  for (const std::byte* end = p + steps * kStep; p != end; p += kStep) {
    if constexpr (kAhead == ReadAhead::kYes) {
      __builtin_prefetch(p + kAheadBytes, 0, kIntoL2);
      __builtin_prefetch(p + kAheadBytes + 64, 0, kIntoL2);
    }
    const auto* vectors = reinterpret_cast<const Vector*>(p);
    a += vectors[0];
    b += vectors[1];
    c += vectors[2];
    d += vectors[3];
  }
  const Vector total = (a + b) + (c + d);
  return total[0] + total[1] + total[2] + total[3];
}

}  // namespace

std::uint64_t read_memory(std::span<const std::byte> memory, ReadAhead ahead) noexcept {
  const auto steps = static_cast<std::int64_t>(memory.size()) / kStep;
  return ahead == ReadAhead::kYes ? sum<ReadAhead::kYes>(memory.data(), steps)
                                  : sum<ReadAhead::kNo>(memory.data(), steps);
}

}  // namespace onebit
