// Memory aligned to a cache line. As scratch of a forward pass it grows when a longer prompt comes
// and never shrinks, so that generating a token allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace onebit {

/// Uninitialised elements of a plain type, aligned to a cache line.
template <class T>
class Buffer {
 public:
  /// At least `count` elements; the contents are lost when it grows.
  T* reserve(std::int64_t count) {
    if (count > size_) {
      data_.reset();
      size_ = 0;
      data_.reset(
          static_cast<T*>(::operator new(static_cast<std::size_t>(count) * sizeof(T), kAlignment)));
      size_ = count;
    }
    return data_.get();
  }

  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  std::int64_t size() const noexcept { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};

  struct Free {
    void operator()(T* p) const noexcept { ::operator delete(p, kAlignment); }
  };

  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

}  // namespace onebit
