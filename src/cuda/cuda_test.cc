// The same training on a GPU, where there is one.
#include "cuda/cuda.h"

#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "distill/test_parity.h"

namespace onebit::cuda {
namespace {

class Cuda : public distill::testing::DeviceParity {};

TEST_P(Cuda, TrainsAsTheCpuDoes) {
  if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU here";
  expect_same_as_cpu(use_gpu(0));
}

INSTANTIATE_TEST_SUITE_P(Students, Cuda, distill::testing::kStudents,
                         [](const auto& student) { return student.param.name; });

}  // namespace
}  // namespace onebit::cuda
