// What tests on a GPU share: they skip where there is none.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <span>
#include <vector>

#include "cuda/device.h"
#include "kernels/test_data.h"

namespace onebit::cuda {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (device_count() == 0) GTEST_SKIP() << "no GPU here";
    device_ = open_device(0);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  }
  void TearDown() override {
    if (stream_ != nullptr) check(cudaStreamDestroy(stream_), "destroying a stream");
  }

  void wait() const { check(cudaStreamSynchronize(stream_), "computing"); }

  template <class T>
  static DeviceBuffer<T> on_device(const std::vector<T>& values) {
    return DeviceBuffer<T>(std::span<const T>(values));
  }

  template <class T>
  std::vector<T> read(const DeviceBuffer<T>& buffer) const {
    wait();
    std::vector<T> values(kernels::size(buffer.size()));
    buffer.read(values);
    return values;
  }

  Device device_ = {};
  cudaStream_t stream_ = nullptr;
};

}  // namespace onebit::cuda
