// Groups of several processes over any of c10d's backends: Gloo here, NCCL in the CUDA library.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "distill/process_group.h"

namespace onebit::distill {

/// Makes the backend of a group whose processes meet through the store.
using BackendFactory = std::function<c10::intrusive_ptr<c10d::Backend>(
    const c10::intrusive_ptr<c10d::Store>& store, const Launch& launch,
    std::chrono::milliseconds timeout)>;

/// As connect() of process_group.h; tensors travel on `device`.
std::unique_ptr<ProcessGroup> connect(const Launch& launch, std::chrono::seconds timeout,
                                      torch::Device device, const BackendFactory& make_backend);

}  // namespace onebit::distill
