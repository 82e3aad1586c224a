// libFuzzer: any bytes as a GGUF file. Reads every tensor's bytes, dequantises a bounded number.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "file/gguf.h"
#include "formats/dequantize.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  constexpr std::int64_t kMaxValues = 4096;  // enough for several blocks of any type
  try {
    const auto file = file::GgufFile::parse({reinterpret_cast<const std::byte*>(data), size}, "f");
    unsigned sum = 0;
    for (const file::GgufTensor& tensor : file.tensors()) {
      for (const std::byte b : tensor.view.data) sum += std::to_integer<unsigned>(b);
      if (tensor.view.cols() > kMaxValues) continue;
      std::vector<float> row(static_cast<std::size_t>(tensor.view.cols()));
      const std::int64_t rows = std::min(tensor.view.rows(), kMaxValues / tensor.view.cols());
      for (std::int64_t i = 0; i < rows; ++i) {
        formats::dequantize(tensor.view.dtype, tensor.view.row(i), row);
        sum += row.front() > 0.0F ? 1 : 0;
      }
    }
    for (const auto& [key, value] : file.metadata()) {
      try {
        sum += file.get_int(key).value_or(0) != 0 ? 1 : 0;
        sum += file.get_ints(key) ? 1 : 0;
      } catch (const Error&) {  // another type
      }
    }
    volatile unsigned sink = sum;
    static_cast<void>(sink);
  } catch (const Error&) {
  }
  return 0;
}
