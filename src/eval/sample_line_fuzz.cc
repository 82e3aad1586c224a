// Fuzzes the lines of a samples file: any text gives a sample that is written and read back the
// same, or an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "eval/sample.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  try {
    const eval::Sample sample = eval::parse_line({reinterpret_cast<const char*>(data), size});
    ONEBIT_CHECK(eval::parse_line(eval::to_line(sample)) == sample);
  } catch (const Error&) {
  }
  return 0;
}
