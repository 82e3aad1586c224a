#include "cli/line_reader.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "base/error.h"

namespace onebit::cli {

std::optional<std::string> LineReader::next() {
  while (true) {
    const std::size_t newline = buffer_.find('\n');
    if (newline != std::string::npos || (ended_ && !buffer_.empty())) {
      std::string line = buffer_.substr(0, newline);
      buffer_.erase(0, newline == std::string::npos ? newline : newline + 1);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    if (ended_) return std::nullopt;

    std::array<pollfd, 2> fds = {pollfd{wake_, POLLIN, 0}, pollfd{input_, POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
      throw Error(ErrorCode::kIo, fmt::format("cannot wait for input: {}", std::strerror(errno)));
    }
    if (fds[0].revents != 0) throw Error(ErrorCode::kInterrupted, "interrupted");
    if (fds[1].revents == 0) continue;
    std::array<char, 4096> chunk;
    const ssize_t got = ::read(input_, chunk.data(), chunk.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      throw Error(ErrorCode::kIo, fmt::format("cannot read input: {}", std::strerror(errno)));
    }
    if (got == 0) ended_ = true;
    buffer_.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace onebit::cli
