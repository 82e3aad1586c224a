// No part of training is tied to the CPU: a device that refuses tensors of the CPU runs it too.
#include <gtest/gtest.h>

#include "distill/test_device.h"
#include "distill/test_parity.h"

namespace onebit::distill::testing {
namespace {

class OtherDevice : public DeviceParity {};

TEST_P(OtherDevice, TrainsAsTheCpuDoes) { expect_same_as_cpu(other_device()); }

INSTANTIATE_TEST_SUITE_P(Students, OtherDevice, kStudents,
                         [](const auto& student) { return student.param.name; });

}  // namespace
}  // namespace onebit::distill::testing
