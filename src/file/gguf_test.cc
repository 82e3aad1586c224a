#include "file/gguf.h"

#include <gtest/gtest.h>

#include "base/test_paths.h"

namespace onebit::file {
namespace {

TEST(Gguf, OpensARealModel) {
  const auto path = testing::model("smollm2-135m-instruct.gguf");
  ONEBIT_REQUIRE_FILE(path);
  const GgufFile file = GgufFile::open(path);
  EXPECT_EQ(file.tensors().size(), 272U);
  EXPECT_EQ(file.require_string("general.architecture"), "llama");
}

}  // namespace
}  // namespace onebit::file
