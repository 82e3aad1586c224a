#include "cli/interrupts.h"

#include <array>
#include <cstdint>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/exit_code.h"

namespace onebit::cli {
namespace {

/// Signals this close together say one thing.
constexpr std::chrono::milliseconds kSameWish(500);

void signal_event(int fd) {
  const std::uint64_t one = 1;
  const ssize_t written = ::write(fd, &one, sizeof(one));
  ONEBIT_CHECK(written == sizeof(one));
}

}  // namespace

Interrupts::Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  struct sigaction hangup = {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);  // nohup ignores it
  ONEBIT_CHECK(::pthread_sigmask(SIG_BLOCK, &signals, &old_mask_) == 0);
  signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  quit_fd_ = ::eventfd(0, EFD_CLOEXEC);
  ONEBIT_CHECK(signal_fd_ >= 0 && wake_fd_ >= 0 && quit_fd_ >= 0);
  thread_ = std::thread([this] { wait_for_signals(); });
}

Interrupts::~Interrupts() {
  signal_event(quit_fd_);
  thread_.join();
  ::close(signal_fd_);
  ::close(wake_fd_);
  ::close(quit_fd_);
  ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

std::stop_token Interrupts::token() const {
  const std::lock_guard lock(mutex_);
  return source_.get_token();
}

void Interrupts::rearm() {
  const std::lock_guard lock(mutex_);
  if (terminated_ || !source_.stop_requested()) return;
  source_ = std::stop_source();
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof(count));
}

void Interrupts::wait_for_signals() {
  while (true) {
    std::array<pollfd, 2> fds = {pollfd{signal_fd_, POLLIN, 0}, pollfd{quit_fd_, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info = {};
    if (::read(signal_fd_, &info, sizeof(info)) != sizeof(info)) continue;
    std::stop_source source;
    {
      const std::lock_guard lock(mutex_);
      const auto now = std::chrono::steady_clock::now();
      if (source_.stop_requested()) {
        if (now - stopped_at_ < kSameWish) continue;
        ::_exit(kExitInterrupted);
      }
      stopped_at_ = now;
      terminated_ = terminated_ || info.ssi_signo != SIGINT;
      source = source_;
      signal_event(wake_fd_);
    }
    source.request_stop();  // outside the lock: callbacks may ask for the token
  }
}

}  // namespace onebit::cli
