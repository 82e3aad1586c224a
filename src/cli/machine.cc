#include "cli/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <new>
#include <span>
#include <sys/resource.h>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/read_memory.h"
#include "base/thread_pool.h"

namespace onebit::cli {
namespace {

// Larger than the last-level caches of current servers, small enough for a small machine.
constexpr std::int64_t kProbeBytes = std::int64_t{1} << 30;
constexpr std::int64_t kShareBytes = 4096;  // a thread's share is a multiple
constexpr int kPasses = 6;

}  // namespace

double read_bandwidth(int threads) {
  Buffer<std::byte> memory;
  std::byte* buffer = nullptr;
  try {
    buffer = memory.reserve(kProbeBytes);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResource,
                fmt::format("bandwidth: found no memory for a buffer of {} MiB to measure with",
                            kProbeBytes >> 20));
  }
  ThreadPool pool(threads);
  // Written by the thread that reads it: its pages then lie near that thread.
  pool.parallel_for(kProbeBytes, kShareBytes, [&](std::int64_t begin, std::int64_t end, int) {
    std::memset(buffer + begin, 1, static_cast<std::size_t>(end - begin));
  });
  std::vector<std::uint64_t> totals(static_cast<std::size_t>(pool.threads()));
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto ahead = pass % 2 == 0 ? ReadAhead::kYes : ReadAhead::kNo;
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(kProbeBytes, kShareBytes,
                      [&](std::int64_t begin, std::int64_t end, int part) {
                        const std::span<const std::byte> share(
                            buffer + begin, static_cast<std::size_t>(end - begin));
                        totals[static_cast<std::size_t>(part)] += read_memory(share, ahead);
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
