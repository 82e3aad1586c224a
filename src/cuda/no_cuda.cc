// What the functions of cuda.h do in a build without CUDA.
#include "base/error.h"
#include "cuda/cuda.h"

namespace onebit::cuda {
namespace {

[[noreturn]] void fail() {
  throw Error(ErrorCode::kUnsupported,
              "--device: found cuda, expected cpu: this program was built without CUDA "
              "(cmake --preset cuda builds it with)");
}

}  // namespace

torch::Device use_gpu(int) { fail(); }

std::unique_ptr<distill::ProcessGroup> connect(const distill::Launch&, std::chrono::seconds,
                                               torch::Device) {
  fail();
}

}  // namespace onebit::cuda
