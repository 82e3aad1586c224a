// A kernel that reads and does nothing else; it may start early, as those of products do.
#include "cuda/instructions.cuh"
#include "cuda/product_forms.cuh"
#include "cuda_read.h"

namespace onebit::bench {
namespace {

constexpr int kThreads = 512;
constexpr int kInFlight = 8;  // vectors that a thread asks for at once

__global__ void __launch_bounds__(kThreads)
    read(const uint4* data, std::int64_t count, std::uint32_t* unused) {
  cuda::let_next_start();
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads;
  std::uint32_t bits = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += threads * kInFlight) {
    uint4 v[kInFlight] = {};
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (i + k * threads < count) v[k] = __ldg(data + i + k * threads);
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) bits += (v[k].x ^ v[k].y) + (v[k].z ^ v[k].w);
  }
  cuda::wait_for_previous();
  if (bits == 0x9E3779B9U) *unused = bits;  // hardly ever, which the compiler does not know
}

}  // namespace

void queue_read(const cuda::Device& device, const void* data, std::int64_t bytes,
                std::uint32_t* unused, cudaStream_t stream) {
  const std::int64_t count = bytes / 16;
  const std::int64_t wanted = (count + kThreads - 1) / kThreads;
  const std::int64_t most = 4 * std::int64_t{device.multiprocessors};
  cuda::launch(device, read, wanted < most ? wanted : most, kThreads, stream,
               static_cast<const uint4*>(data), count, unused);
}

}  // namespace onebit::bench
