#include "cuda/device_signs.h"

#include "base/buffer.h"
#include "base/check.h"

namespace onebit::cuda {
namespace {

DeviceBuffer<std::byte> upload_signs(const formats::Sign1View& s, ThreadPool* pool) {
  Buffer<std::byte> packed;
  const std::int64_t bytes = kSignLayout.bytes(s.rows, s.cols);
  packed.reserve(bytes);
  const auto pack = [&](std::int64_t begin, std::int64_t end, int) {
    kSignLayout.pack(s, packed.data(), begin, end);
  };
  if (pool == nullptr) {
    pack(0, s.rows, 0);
  } else {
    pool->parallel_for(s.rows, kSignLayout.panel_rows, pack);
  }
  return DeviceBuffer<std::byte>({packed.data(), static_cast<std::size_t>(bytes)});
}

DeviceBuffer<float> upload_scales(const formats::Sign1View& s, std::span<const float> h,
                                  std::int64_t group_size) {
  if (group_size == 0) return DeviceBuffer<float>(h);
  Buffer<float> packed;
  const std::int64_t count = kSignLayout.scales(s.rows, s.cols, group_size);
  kSignLayout.pack_scales(h.data(), s.rows, s.cols, group_size, packed.reserve(count));
  return DeviceBuffer<float>({packed.data(), static_cast<std::size_t>(count)});
}

}  // namespace

DeviceSigns::DeviceSigns(const Device& device, const formats::Sign1View& s,
                         std::span<const float> h, std::int64_t group_size, ThreadPool* pool)
    : device_(device),
      rows_(s.rows),
      cols_(s.cols),
      group_size_(group_size),
      signs_(upload_signs(s, pool)),
      h_(upload_scales(s, h, group_size)) {
  ONEBIT_CHECK(group_size == 0 || group_size == 16 || group_size == 32 || group_size == 64 ||
               group_size == 128);
}

}  // namespace onebit::cuda
