// libFuzzer: any text as a model.safetensors.index.json. What is accepted names files beside it and
// gives every tensor once a file.
#include <cstdint>
#include <filesystem>

#include "base/check.h"
#include "base/error.h"
#include "file/safetensors_format.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  try {
    const file::WeightMap files =
        file::parse_weight_map({reinterpret_cast<const char*>(data), size}, "index");
    ONEBIT_CHECK(!files.empty());
    for (const auto& [name, tensors] : files) {
      const std::filesystem::path path = std::filesystem::path("folder") / name;
      ONEBIT_CHECK(path.parent_path() == "folder" && path.filename() == name);
      ONEBIT_CHECK(path.lexically_normal() == path && !tensors.empty());
    }
  } catch (const Error&) {
  }
  return 0;
}
