// Golden tensors for tests of the layers that use libtorch. Only *_test.cc files include this.
#pragma once

#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <torch/types.h>

#include "file/safetensors.h"

namespace onebit::testing {

/// A safetensors file of tests/golden as torch tensors.
class GoldenTensors {
 public:
  explicit GoldenTensors(const std::filesystem::path& path)
      : file_(file::SafetensorsFile::open(path)) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }

  torch::Tensor get(const std::string& name) const {
    const file::SafeTensor* found = file_.find(name);
    if (found == nullptr) throw std::runtime_error("golden file lacks " + name);
    torch::Tensor result = torch::empty(found->view.shape, type_of(found->view.dtype));
    std::memcpy(result.data_ptr(), found->view.data.data(), found->view.data.size());
    return result;
  }

 private:
  static torch::ScalarType type_of(formats::DType dtype) {
    switch (dtype) {
      case formats::DType::kF64:
        return torch::kFloat64;
      case formats::DType::kF32:
        return torch::kFloat32;
      case formats::DType::kI32:
        return torch::kInt32;
      case formats::DType::kI8:
        return torch::kInt8;
      default:
        throw std::runtime_error("golden file: unexpected element type");
    }
  }

  file::SafetensorsFile file_;
};

}  // namespace onebit::testing
