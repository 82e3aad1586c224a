#include "cuda/device.h"

#include <fmt/format.h>

#include "base/error.h"

namespace onebit::cuda {
namespace {

constexpr int kOldestMajor = 8;      // cp.async, and mma on int8 of this shape
constexpr int kEarlyStartMajor = 9;  // griddepcontrol

ErrorCode code_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return ErrorCode::kResource;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return ErrorCode::kUnsupported;
    default:
      return ErrorCode::kIo;
  }
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, index), "asking for an attribute");
  return value;
}

}  // namespace

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next launch would report it again
  throw Error(code_of(status), fmt::format("GPU: {}: {} ({})", doing, cudaGetErrorString(status),
                                           cudaGetErrorName(status)));
}

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

Device open_device(int index) {
  const int count = device_count();
  if (index < 0 || index >= count) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("GPU: found {} CUDA devices, expected one with number {}; is the "
                            "driver loaded?",
                            count, index));
  }
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, index);
  if (major < kOldestMajor) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("GPU {}: found compute capability {}.{}, expected {}.0 or later", index, major,
                    attribute(cudaDevAttrComputeCapabilityMinor, index), kOldestMajor));
  }
  check(cudaSetDevice(index), "choosing it");
  return {.index = index,
          .multiprocessors = attribute(cudaDevAttrMultiProcessorCount, index),
          .early_start = major >= kEarlyStartMajor};
}

void* allocate_on_device(std::size_t bytes) {
  void* p = nullptr;
  if (bytes == 0) return p;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status != cudaSuccess) check(status, fmt::format("allocating {} bytes", bytes).c_str());
  return p;
}

void free_on_device(void* p) noexcept { cudaFree(p); }

void copy_to_device(const void* from, void* to, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copying to it");
  // Of pageable memory the copy above may return while the last of it is on its way.
  check(cudaStreamSynchronize(nullptr), "copying to it");
}

void copy_from_device(const void* from, void* to, std::size_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "copying from it");
}

}  // namespace onebit::cuda
