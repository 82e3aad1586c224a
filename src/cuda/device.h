// This machine's GPUs as the 1-bit products see them: what a launch must know of one, memory on it,
// and CUDA's status codes as errors. Needs the CUDA runtime alone, no libtorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <memory>
#include <span>

namespace onebit::cuda {

/// Throws what a failed call means, nothing if it did not fail: kResource for want of memory,
/// kUnsupported where there is no GPU or none that the kernels were compiled for, else kIo. `doing`
/// is the message's object: "copying to the GPU".
void check(cudaError_t status, const char* doing);

/// A GPU: what launches depend on, fetched once.
struct Device {
  int index;
  int multiprocessors;
  /// Whether a kernel may be started while the one before it is still running, as programmatic
  /// dependent launch has it (compute capability 9): it loads weights meanwhile.
  bool early_start;
};

/// 0 without a GPU, and without a driver for it.
int device_count() noexcept;

/// GPU number `index`, made the calling thread's current one. Throws Error{kUnsupported} when there
/// is none or it is older than compute capability 8.0.
Device open_device(int index);

/// Memory of the current device. Throws Error{kResource}.
void* allocate_on_device(std::size_t bytes);
void free_on_device(void* p) noexcept;
/// Both have copied when they return; work in other streams is not waited for.
void copy_to_device(const void* from, void* to, std::size_t bytes);
void copy_from_device(const void* from, void* to, std::size_t bytes);

/// Uninitialised elements of a plain type on the device that was current, aligned to 256 bytes.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::int64_t count)
      : data_(static_cast<T*>(allocate_on_device(static_cast<std::size_t>(count) * sizeof(T)))),
        size_(count) {}
  explicit DeviceBuffer(std::span<const T> values)
      : DeviceBuffer(static_cast<std::int64_t>(values.size())) {
    copy_to_device(values.data(), data(), values.size_bytes());
  }

  T* data() const noexcept { return data_.get(); }
  std::int64_t size() const noexcept { return size_; }
  /// The first values.size() elements.
  void read(std::span<T> values) const {
    copy_from_device(data(), values.data(), values.size_bytes());
  }

 private:
  struct Free {
    void operator()(T* p) const noexcept { free_on_device(p); }
  };

  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

}  // namespace onebit::cuda
