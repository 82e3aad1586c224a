#include "base/thread_pool.h"

#include <exception>
#include <fmt/format.h>

#include "base/error.h"

namespace onebit {
namespace {

// Between the matrices of one token the gaps are microseconds: a thread waits so many turns, some
// 20 to 50 microseconds, before it sleeps.
constexpr int kSpins = 1000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // a yield returns at once on most cores
#endif
}

/// Until `value` is no longer `old`; returns what it is then.
template <class T>
T wait_for_change(const std::atomic<T>& value, T old) {
  for (int spin = 0;; ++spin) {
    const T now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    if (spin < kSpins) {
      relax();
    } else {
      value.wait(old, std::memory_order_acquire);
    }
  }
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  taken_ = std::make_unique<Taken[]>(static_cast<std::size_t>(threads));
  workers_.reserve(static_cast<std::size_t>(threads) - 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::exception&) {  // the system gives no more threads, or no memory for one
    const int found = this->threads();
    stop();
    throw Error(ErrorCode::kResource,
                fmt::format("threads: found room for {}, expected {}", found, threads));
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true);
  number_.fetch_add(1);
  number_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Job job, void* context, int parts) {
  const std::uint32_t number = number_.load(std::memory_order_relaxed) + 1;
  job_ = job;
  context_ = context;
  parts_ = parts;
  done_.store(0, std::memory_order_relaxed);
  for (int i = parts; i < threads(); ++i) taken_[i].by.store(number, std::memory_order_relaxed);
  number_.store(number, std::memory_order_release);
  number_.notify_all();
  take_parts(number, 0);
  for (int done = done_.load(std::memory_order_acquire); done != parts;) {
    done = wait_for_change(done_, done);
  }
}

/// The worker's own part, then what others have not begun.
void ThreadPool::take_parts(std::uint32_t job, int worker) noexcept {
  const int count = threads();
  for (int i = 0; i < count; ++i) {
    const int part = (worker + i) % count;
    std::uint32_t before = job - 1;
    if (!taken_[part].by.compare_exchange_strong(before, job, std::memory_order_relaxed)) continue;
    // The job is not over before this part is, so what describes it stands.
    const int parts = parts_;
    job_(context_, part, worker);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == parts) done_.notify_one();
  }
}

void ThreadPool::work(int worker) {
  std::uint32_t seen = 0;
  while (true) {
    seen = wait_for_change(number_, seen);
    if (stop_.load()) return;
    take_parts(seen, worker);
  }
}

}  // namespace onebit
