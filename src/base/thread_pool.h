// A fixed team of threads for data-parallel loops: static partition, no allocation per call.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace onebit {

/// One caller at a time; the caller takes part in the work as worker 0.
class ThreadPool {
 public:
  /// threads <= 0: one per hardware thread. Throws Error{kResource} when the system gives fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  /// Runs body(begin, end, worker) over a partition of [0, count) into at most threads() ranges
  /// whose ends are multiples of `grain` (but for the last). Returns when all are done. The body
  /// must not throw and must not call parallel_for on the same pool.
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    if (count <= 0) return;
    const std::int64_t blocks = (count + grain - 1) / grain;
    const std::int64_t parts = std::min<std::int64_t>(blocks, threads());
    auto part = [&](int worker) {
      if (worker >= parts) return;
      const std::int64_t begin = blocks * worker / parts * grain;
      const std::int64_t end = std::min(count, blocks * (worker + 1) / parts * grain);
      body(begin, end, worker);
    };
    if (parts == 1) {
      part(0);
      return;
    }
    run([](void* context, int worker) { (*static_cast<decltype(part)*>(context))(worker); }, &part);
  }

 private:
  using Job = void (*)(void* context, int worker);

  void run(Job job, void* context);
  void work(int worker);
  void stop();  ///< ends and joins the workers

  std::vector<std::thread> workers_;
  Job job_ = nullptr;
  void* context_ = nullptr;
  std::atomic<std::uint32_t> generation_{0};  ///< bumped once a job; workers wait on it
  std::atomic<int> pending_{0};               ///< workers that have not finished the job
  std::atomic<bool> stop_{false};
};

}  // namespace onebit
