// Training on GPUs: the one optional library that knows CUDA and NCCL. A build without it has the
// same functions (no_cuda.cc), which say so.
#pragma once

#include <chrono>
#include <memory>
#include <torch/types.h>

#include "distill/process_group.h"

namespace onebit::cuda {

/// This machine's GPU number `index`, made the current one. Throws Error{kUnsupported} when there
/// is none or the program was built without CUDA.
torch::Device use_gpu(int index);

/// Meets the other processes; tensors on `device` travel by NCCL. Throws as distill::connect().
std::unique_ptr<distill::ProcessGroup> connect(const distill::Launch& launch,
                                               std::chrono::seconds timeout, torch::Device device);

}  // namespace onebit::cuda
