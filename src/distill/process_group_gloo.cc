// Groups of processes on CPUs, over TCP. Its own file, because the wheel lacks Gloo's headers (they
// are Debian's libgloo-dev).
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "distill/process_group_c10d.h"

namespace onebit::distill {

std::unique_ptr<ProcessGroup> connect(const Launch& launch, std::chrono::seconds timeout) {
  return connect(launch, timeout, torch::kCPU,
                 [](const c10::intrusive_ptr<c10d::Store>& store, const Launch& place,
                    std::chrono::milliseconds limit) -> c10::intrusive_ptr<c10d::Backend> {
                   using Gloo = c10d::ProcessGroupGloo;
                   const auto options = Gloo::Options::create(limit);
                   options->devices.push_back(
                       place.interface.empty() ? Gloo::createDefaultDevice()
                                               : Gloo::createDeviceForInterface(place.interface));
                   return c10::make_intrusive<Gloo>(store, place.rank, place.size, options);
                 });
}

}  // namespace onebit::distill
