#include "cli/machine.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <new>
#include <sys/resource.h>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/thread_pool.h"

namespace onebit::cli {
namespace {

// Larger than the last-level caches of current servers, small enough for a small machine.
constexpr std::int64_t kProbeBytes = std::int64_t{1} << 30;
// What is asked for ahead of its use: cores that wait for each line reach less than the memory
// gives.
constexpr std::int64_t kAheadBytes = 4096;
constexpr int kPasses = 5;

// 32 bytes a load keep any core's load ports ahead of its memory; four sums hide the add's latency.
using Vector = std::uint64_t __attribute__((vector_size(32)));
constexpr int kSums = 4;
constexpr std::int64_t kStep = kSums * static_cast<std::int64_t>(sizeof(Vector));

std::uint64_t sum(const Vector* data, std::int64_t count) {
  Vector sums[kSums] = {};
  for (std::int64_t i = 0; i + kSums <= count; i += kSums) {
    const auto* line = reinterpret_cast<const std::byte*>(data + i);
    for (std::int64_t j = 0; j < kStep; j += 64) __builtin_prefetch(line + kAheadBytes + j);
    for (int k = 0; k < kSums; ++k) sums[k] += data[i + k];
  }
  const Vector total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return total[0] + total[1] + total[2] + total[3];
}

}  // namespace

double read_bandwidth(int threads) {
  constexpr std::int64_t kCount = kProbeBytes / static_cast<std::int64_t>(sizeof(Vector));
  Buffer<Vector> memory;
  Vector* buffer = nullptr;
  try {
    buffer = memory.reserve(kCount);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResource,
                fmt::format("bandwidth: found no memory for a buffer of {} MiB to measure with",
                            kProbeBytes >> 20));
  }
  ThreadPool pool(threads);
  // Written by the thread that reads it: its pages then lie near that thread.
  pool.parallel_for(kCount, kStep, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto value = static_cast<std::uint64_t>(i);
      buffer[i] = Vector{value, value, value, value};
    }
  });
  std::vector<std::uint64_t> totals(static_cast<std::size_t>(pool.threads()));
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(kCount, kStep, [&](std::int64_t begin, std::int64_t end, int part) {
      totals[static_cast<std::size_t>(part)] += sum(buffer + begin, end - begin);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kProbeBytes) / seconds.count());
  }
  // The sums must be used, or the loads may be left out.
  const volatile std::uint64_t used = totals[0];
  static_cast<void>(used);
  return best;
}

std::uint64_t peak_memory() {
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

}  // namespace onebit::cli
