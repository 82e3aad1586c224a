// What a GPU's memory gives to a kernel that reads and does nothing else.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>

#include "cuda/device.h"

namespace onebit::bench {

/// Queues the reading of `bytes` bytes, a multiple of 16, on `stream`, as products.h queues a
/// product. `unused` is one word that the kernel may write.
void queue_read(const cuda::Device& device, const void* data, std::int64_t bytes,
                std::uint32_t* unused, cudaStream_t stream);

}  // namespace onebit::bench
