#include "base/sha256.h"

#include <gtest/gtest.h>

namespace onebit {
namespace {

TEST(Sha256, StandardVector) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span("abc", 3)));
  EXPECT_EQ(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace onebit
