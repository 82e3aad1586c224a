// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace onebit::cli {

/// "304,978"
std::string grouped(std::int64_t value);

/// "93.2 MB" (powers of ten, as file managers count)
std::string bytes_text(std::uint64_t bytes);

}  // namespace onebit::cli
