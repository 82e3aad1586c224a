// libFuzzer: any bytes as a safetensors file. Reads every tensor's bytes, converts a bounded
// number.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "file/safetensors.h"
#include "formats/dequantize.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  constexpr std::uint64_t kMaxValues = 4096;
  try {
    const auto file =
        file::SafetensorsFile::parse({reinterpret_cast<const std::byte*>(data), size}, "f");
    unsigned sum = 0;
    for (const file::SafeTensor& tensor : file.tensors()) {
      for (const std::byte b : tensor.view.data) sum += std::to_integer<unsigned>(b);
      const auto count = *formats::element_count(tensor.view.shape);
      std::vector<float> values(static_cast<std::size_t>(std::min(count, kMaxValues)));
      formats::dequantize(tensor.view.dtype, tensor.view.data, values);
      sum += file.find(tensor.name) == &tensor ? 1 : 0;
    }
    for (const auto& [key, value] : file.metadata()) sum += static_cast<unsigned>(value.size());
    volatile unsigned sink = sum;
    static_cast<void>(sink);
  } catch (const Error&) {
  }
  return 0;
}
