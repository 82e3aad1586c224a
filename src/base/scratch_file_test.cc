#include "base/scratch_file.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/test_paths.h"

namespace onebit {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ScratchFile, HoldsWhatIsWrittenAndHasNoName) {
  const testing::TempDir dir;
  ScratchFile file(dir / "", 10000);
  EXPECT_EQ(file.size(), 10000U);
  for (std::size_t i = 0; i < file.size(); ++i) {
    ASSERT_EQ(file.data()[i], std::byte{0});
    file.data()[i] = static_cast<std::byte>(i % 251);
  }
  for (std::size_t i = 0; i < file.size(); ++i) {
    ASSERT_EQ(file.data()[i], static_cast<std::byte>(i % 251));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir / ""));
}

TEST(ScratchFile, WhatThereIsNoRoomForIsSaid) {
  const testing::TempDir dir;
  EXPECT_THAT([&] { ScratchFile(dir / "absent", 10); },
              ThrowsMessage<Error>(AllOf(HasSubstr("absent"), HasSubstr("No such file"))));
  constexpr std::size_t kTooMuch = std::size_t{1} << 60;
  EXPECT_THAT([&] { ScratchFile(dir / "", kTooMuch); },
              ThrowsMessage<Error>(HasSubstr("scratch file of 1152921504606846976 bytes")));
  EXPECT_TRUE(std::filesystem::is_empty(dir / ""));
}

}  // namespace
}  // namespace onebit
