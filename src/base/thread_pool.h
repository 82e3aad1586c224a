// A fixed team of threads for data-parallel loops: static partition, no allocation per call. A
// thread that the system keeps from running holds nobody up unless it is in the middle of its part:
// the others take its part over.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
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

  /// Runs body(begin, end, part) over a partition of [0, count) into at most threads() ranges whose
  /// ends are multiples of `grain` (but for the last): the same ranges for the same arguments, part
  /// numbered from 0, run by the worker of that number unless it is late. Returns when all are
  /// done. The body must not throw and must not call parallel_for on the same pool.
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    if (count <= 0) return;
    const std::int64_t blocks = (count + grain - 1) / grain;
    const std::int64_t parts = std::min<std::int64_t>(blocks, threads());
    auto range = [&](int part, int) {
      const std::int64_t begin = blocks * part / parts * grain;
      const std::int64_t end = std::min(count, blocks * (part + 1) / parts * grain);
      body(begin, end, part);
    };
    run(range, static_cast<int>(parts));
  }

  /// Runs body(task, worker) for every task of [0, count), each taken by the next thread that is
  /// free: for tasks of unequal length. worker < threads(), and no two calls at a time have the
  /// same one. Returns when all are done; the body as for parallel_for.
  template <class Body>
  void parallel_tasks(std::int64_t count, Body&& body) {
    if (count <= 0) return;
    std::atomic<std::int64_t> next{0};
    auto take = [&](int, int worker) {
      for (std::int64_t task = next.fetch_add(1, std::memory_order_relaxed); task < count;
           task = next.fetch_add(1, std::memory_order_relaxed)) {
        body(task, worker);
      }
    };
    run(take, static_cast<int>(std::min<std::int64_t>(count, threads())));
  }

 private:
  using Job = void (*)(void* context, int part, int worker);

  /// Which job's part was taken last: a part of job n is there to be taken while n - 1 stands here.
  /// So a worker that comes late, even by several jobs, can take nothing of a job that is over.
  struct alignas(64) Taken {
    std::atomic<std::uint32_t> by{0};
  };

  template <class Part>
  void run(Part& part, int parts) {
    if (parts == 1) {
      part(0, 0);
      return;
    }
    run([](void* context, int i, int worker) { (*static_cast<Part*>(context))(i, worker); }, &part,
        parts);
  }

  void run(Job job, void* context, int parts);
  void take_parts(std::uint32_t job, int worker) noexcept;
  void work(int worker);
  void stop();  ///< ends and joins the workers

  std::vector<std::thread> workers_;
  std::unique_ptr<Taken[]> taken_;  ///< of part i
  Job job_ = nullptr;
  void* context_ = nullptr;
  int parts_ = 0;
  std::atomic<std::uint32_t> number_{0};  ///< of the job under way; workers wait for the next one
  alignas(64) std::atomic<int> done_{0};  ///< its parts that are
  std::atomic<bool> stop_{false};
};

}  // namespace onebit
