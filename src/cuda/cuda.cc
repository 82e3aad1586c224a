#include "cuda/cuda.h"

#include <c10/cuda/CUDAFunctions.h>
#include <fmt/format.h>

#include "base/error.h"

#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "distill/process_group_c10d.h"

namespace onebit::cuda {

torch::Device use_gpu(int index) {
  const int count = c10::cuda::device_count();
  if (index >= count) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("--device: found {} CUDA devices, expected one with number {}; is the "
                            "driver loaded?",
                            count, index));
  }
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

std::unique_ptr<distill::ProcessGroup> connect(const distill::Launch& launch,
                                               std::chrono::seconds timeout, torch::Device device) {
  return distill::connect(
      launch, timeout, device,
      [](const c10::intrusive_ptr<c10d::Store>& store, const distill::Launch& place,
         std::chrono::milliseconds limit) -> c10::intrusive_ptr<c10d::Backend> {
        const auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = limit;
        return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, place.rank, place.size, options);
      });
}

}  // namespace onebit::cuda
