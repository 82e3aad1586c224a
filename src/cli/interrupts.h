// SIGINT, SIGTERM and SIGHUP as a std::stop_token. A thread waits for the signals, so that no code
// runs in a signal handler and library calls are never cut short.
#pragma once

#include <chrono>
#include <csignal>
#include <mutex>
#include <stop_token>
#include <thread>

namespace onebit::cli {

class Interrupts {
 public:
  /// Blocks the signals in the calling thread and in the threads that it will start: construct
  /// before any other thread. One object at a time.
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Stops at the next signal. The signal after that, if nothing has reacted, ends the program at
  /// once with exit code 130; not one that comes within half a second, as `timeout` sends the same
  /// signal to the program and to its group.
  std::stop_token token() const;

  /// Readable (poll) from a signal on, until rearm().
  int wake_fd() const noexcept { return wake_fd_; }

  /// The signal has been dealt with: a new token, not stopped. Does nothing after the others, which
  /// always mean the whole program.
  void rearm();

 private:
  void wait_for_signals();

  mutable std::mutex mutex_;
  std::stop_source source_;
  bool terminated_ = false;
  std::chrono::steady_clock::time_point stopped_at_;  ///< of the last signal that stops
  int signal_fd_ = -1;
  int wake_fd_ = -1;
  int quit_fd_ = -1;
  sigset_t old_mask_ = {};
  std::thread thread_;
};

}  // namespace onebit::cli
