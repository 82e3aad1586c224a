#include "cli/console.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "cli/printable.h"
#include "cli/progress_text.h"

namespace onebit::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kBarInterval = std::chrono::milliseconds(100);  // smooth to the eye, cheap
constexpr auto kLineInterval = std::chrono::seconds(10);       // a log stays readable

Verbosity of(LogLevel level) { return static_cast<Verbosity>(level); }
static_assert(static_cast<int>(LogLevel::kDebug) == static_cast<int>(Verbosity::kDebug) &&
              static_cast<int>(LogLevel::kError) == static_cast<int>(Verbosity::kError));

std::string_view prefix(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "onebit: debug: ";
    case LogLevel::kInfo:
      return "";
    case LogLevel::kWarning:
      return "onebit: warning: ";
    case LogLevel::kError:
      break;
  }
  return "onebit: error: ";
}

/// Writes all of `text`; the errno of the first failure, 0 when there was none.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

std::string one_line(std::string_view text) {
  std::string line = printable(text);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

int terminal_width() {
  struct winsize size = {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - 1;
  return 79;
}

}  // namespace

/// One job's display; the console draws, so that messages and the bar never mix.
class Console::Display final : public Progress {
 public:
  Display(Console& console, std::string label, std::string unit)
      : console_(console),
        label_(std::move(label)),
        unit_(std::move(unit)),
        begin_(Clock::now()),
        last_(begin_) {}

  ~Display() override {
    if (console_.terminal_) {
      const std::lock_guard lock(console_.mutex_);
      console_.clear_bar();
    } else if (printed_ && last_done_ != done_) {
      print_line(Clock::now());
    }
  }

  void update(std::uint64_t done, std::uint64_t total, std::string_view note) override {
    const auto now = Clock::now();
    done_ = done;
    total_ = total;
    note_ = note;
    if (console_.terminal_) {
      if (now - last_ < kBarInterval && (done < total || total == 0)) return;
      const std::lock_guard lock(console_.mutex_);
      console_.draw_bar(progress_bar(state(now), terminal_width()));
    } else {
      if (now - last_ < kLineInterval) return;
      print_line(now);
    }
    last_ = now;
  }

 private:
  ProgressState state(Clock::time_point now) const {
    return {label_, unit_,  note_,
            done_,  total_, std::chrono::duration<double>(now - begin_).count()};
  }

  void print_line(Clock::time_point now) {
    const std::lock_guard lock(console_.mutex_);
    console_.write_stderr(progress_line(state(now)) + '\n');
    printed_ = true;
    last_done_ = done_;
  }

  Console& console_;
  std::string label_;
  std::string unit_;
  std::string note_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t last_done_ = 0;
  bool printed_ = false;
  Clock::time_point begin_;
  Clock::time_point last_;
};

Console::Console() : terminal_(::isatty(STDERR_FILENO) == 1) {
  set_log_sink([this](LogLevel level, std::string_view text) { message(level, text); });
}

Console::~Console() {
  set_log_sink({});
  clear_bar();
}

void Console::print(std::string_view text) {
  if (json_ || text.empty()) return;
  const std::lock_guard lock(mutex_);
  write_stdout(text);
}

void Console::print_json(const nlohmann::ordered_json& object) {
  if (!json_) return;
  const std::lock_guard lock(mutex_);
  // Generated text may end in half a character; JSON holds whole ones only.
  write_stdout(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
               '\n');
}

void Console::message(LogLevel level, std::string_view text) {
  if (of(level) < verbosity_) return;
  const std::lock_guard lock(mutex_);
  write_stderr(fmt::format("{}{}\n", prefix(level), text));
}

void Console::error(std::string_view text) {
  const std::lock_guard lock(mutex_);
  write_stderr(fmt::format("onebit: error: {}\n", one_line(text)));
}

std::unique_ptr<Progress> Console::progress(std::string label, std::string unit) {
  if (verbosity_ > Verbosity::kInfo) return std::make_unique<NoProgress>();
  return std::make_unique<Display>(*this, std::move(label), std::move(unit));
}

void Console::write_stdout(std::string_view text) {
  clear_bar();
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) {
    if (outlive_stdout_) return;
    throw BrokenPipe{};
  }
  if (error != 0) {
    throw Error(ErrorCode::kIo,
                fmt::format("cannot write to standard output: {}", std::strerror(error)));
  }
  at_line_start_ = text.back() == '\n';
}

void Console::write_stderr(std::string_view text) {
  clear_bar();
  // On a terminal both streams share the screen: begin a message on its own line.
  if (terminal_ && !at_line_start_ && ::isatty(STDOUT_FILENO) == 1) {
    write_all(STDERR_FILENO, "\n");
    at_line_start_ = true;
  }
  write_all(STDERR_FILENO, text);  // nowhere to report a failure to
}

void Console::draw_bar(std::string_view bar) {
  write_all(STDERR_FILENO, fmt::format("\r{}\x1b[K", bar));
  bar_drawn_ = true;
}

void Console::clear_bar() {
  if (!bar_drawn_) return;
  write_all(STDERR_FILENO, "\r\x1b[K");
  bar_drawn_ = false;
}

}  // namespace onebit::cli
