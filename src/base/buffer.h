// Memory aligned to a cache line, on huge pages where it is large. As scratch of a forward pass it
// grows when a longer prompt comes and never shrinks, so that generating a token allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace onebit {

/// `bytes` bytes aligned to 64; from 2 MiB on aligned to that, and the system is asked for huge
/// pages: weights are read once a token from end to end, where a page of 4 KiB costs a walk of the
/// page table every 64 cache lines. Throws std::bad_alloc.
void* allocate_buffer(std::size_t bytes);
void free_buffer(void* p, std::size_t bytes) noexcept;

/// Uninitialised elements of a plain type.
template <class T>
class Buffer {
 public:
  /// At least `count` elements; the contents are lost when it grows.
  T* reserve(std::int64_t count) {
    if (count > size_) {
      data_.reset();
      size_ = 0;
      const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
      data_ = {static_cast<T*>(allocate_buffer(bytes)), Free{bytes}};
      size_ = count;
    }
    return data_.get();
  }

  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  std::int64_t size() const noexcept { return size_; }

 private:
  struct Free {
    std::size_t bytes = 0;
    void operator()(T* p) const noexcept { free_buffer(p, bytes); }
  };

  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

}  // namespace onebit
