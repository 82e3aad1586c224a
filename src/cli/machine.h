// What this machine does and has used: memory bandwidth by measurement, peak memory of the process.
#pragma once

#include <cstdint>

namespace onebit::cli {

/// Bytes per second that `threads` threads read from memory together, each its own share of one
/// buffer far larger than the caches, once a pass; the best of a few passes. Takes about a second.
/// Throws Error{kResource} when there is no memory for the buffer.
double read_bandwidth(int threads);

/// The most memory that this process has held so far, bytes.
std::uint64_t peak_memory();

}  // namespace onebit::cli
