#include "cuda/device.h"

#include <gmock/gmock.h>
#include <string>

#include "base/error.h"
#include "cuda/test_gpu.h"

namespace onebit::cuda {
namespace {

/// The code of what `call` throws, its message in `message`.
template <class Call>
ErrorCode code_of(const Call& call, std::string& message) {
  try {
    call();
  } catch (const Error& error) {
    message = error.what();
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kInterrupted;
}

TEST(Device, FailuresAreOneLineWithTheirKind) {
  std::string message;
  const auto failing = [](cudaError_t status) { return [=] { check(status, "copying to it"); }; };
  EXPECT_NO_THROW(check(cudaSuccess, "copying to it"));
  EXPECT_EQ(code_of(failing(cudaErrorMemoryAllocation), message), ErrorCode::kResource);
  EXPECT_EQ(message, "GPU: copying to it: out of memory (cudaErrorMemoryAllocation)");
  EXPECT_EQ(code_of(failing(cudaErrorNoKernelImageForDevice), message), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(failing(cudaErrorIllegalAddress), message), ErrorCode::kIo);
}

TEST(Device, NumbersBeyondTheLastAreRefused) {
  std::string message;
  EXPECT_EQ(code_of([] { open_device(99); }, message), ErrorCode::kUnsupported);
  EXPECT_THAT(message, testing::HasSubstr("expected one with number 99"));
  EXPECT_EQ(code_of([] { open_device(-1); }, message), ErrorCode::kUnsupported);
}

class DeviceMemory : public GpuTest {};

TEST_F(DeviceMemory, HoldsWhatWasCopied) {
  const std::vector<float> values = {1.5F, -2.0F, 3.25F};
  EXPECT_EQ(read(on_device(values)), values);
  EXPECT_EQ(DeviceBuffer<float>(0).data(), nullptr);
}

TEST_F(DeviceMemory, WantOfItIsAnError) {
  std::string message;
  EXPECT_EQ(code_of([] { allocate_on_device(std::size_t{1} << 50); }, message),
            ErrorCode::kResource);
  EXPECT_THAT(message, testing::StartsWith("GPU: allocating 1125899906842624 bytes: "));
  EXPECT_NO_THROW(DeviceBuffer<float>(16));  // the failure is not reported again
}

}  // namespace
}  // namespace onebit::cuda
