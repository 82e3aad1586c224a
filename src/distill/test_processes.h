// Several "processes" of a test: threads, each with a group of its own that meets the others over
// loopback, as real ones do.
#pragma once

#include <ATen/Parallel.h>
#include <arpa/inet.h>
#include <exception>
#include <functional>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "base/check.h"
#include "distill/process_group.h"

namespace onebit::distill::testing {

/// A port that nobody listens at.
inline std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ONEBIT_CHECK(fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  ONEBIT_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

/// Runs work(group) as `size` processes; what each of them threw, "" for nothing.
inline std::vector<std::string> run_processes(
    int size, const std::function<void(ProcessGroup&)>& work,
    std::chrono::seconds timeout = std::chrono::seconds(60)) {
  const std::uint16_t port = free_port();
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        const auto group = connect(
            {.rank = rank, .size = size, .address = "127.0.0.1", .port = port, .interface = "lo"},
            timeout);
        work(*group);
      } catch (const std::exception& error) {
        errors[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  threads.clear();  // joins
  return errors;
}

}  // namespace onebit::distill::testing
