// A 1-bit matrix as the kernels of a set read it: in their layout, or where it is stored if they
// have none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "formats/sign1.h"
#include "kernels/kernels.h"

namespace onebit::kernels {

class SignMatrix {
 public:
  /// `stored`, and `h` [rows, groups] of a matrix whose groups of `group_size` inputs have scales
  /// (else empty, 0), must outlive the object if the set reads them as they are stored: is_copy().
  /// With a pool its threads share the copying.
  SignMatrix(const KernelSet& kernels, const formats::Sign1View& stored, std::span<const float> h,
             std::int64_t group_size, ThreadPool* pool = nullptr);

  bool is_copy() const noexcept { return signs_bytes_.data() != nullptr; }
  const PackedSigns& signs() const noexcept { return signs_; }
  GroupedSigns grouped() const noexcept { return {signs_, h_, group_size_}; }

 private:
  Buffer<std::byte> signs_bytes_;
  Buffer<float> h_copy_;
  PackedSigns signs_;
  const float* h_;
  std::int64_t group_size_;
};

}  // namespace onebit::kernels
