// A 1-bit matrix in a GPU's memory: kernels::SignMatrix there, with h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "cuda/device.h"
#include "cuda/sign_layout.h"
#include "formats/sign1.h"

namespace onebit::cuda {

class DeviceSigns {
 public:
  /// Copies S and h to the device, which is the current one, in the kernels' order; neither is
  /// needed afterwards. h is [rows] with group_size 0, or empty; [rows, groups] of a matrix whose
  /// groups of group_size inputs (16, 32, 64 or 128) have scales. With a pool its threads share
  /// the ordering. Throws Error{kResource}.
  DeviceSigns(const Device& device, const formats::Sign1View& s, std::span<const float> h,
              std::int64_t group_size, ThreadPool* pool = nullptr);

  const Device& device() const noexcept { return device_; }
  std::int64_t rows() const noexcept { return rows_; }
  std::int64_t cols() const noexcept { return cols_; }
  /// 0: h, if any, is one scale a row.
  std::int64_t group_size() const noexcept { return group_size_; }
  /// What a product reads of it.
  std::int64_t bytes() const noexcept { return signs_.size() + 4 * h_.size(); }

  const LaneSigns* signs() const noexcept {
    return reinterpret_cast<const LaneSigns*>(signs_.data());
  }
  /// Null without h; with groups as kSignLayout has them.
  const float* h() const noexcept { return h_.data(); }

 private:
  Device device_;
  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t group_size_;
  DeviceBuffer<std::byte> signs_;
  DeviceBuffer<float> h_;
};

}  // namespace onebit::cuda
