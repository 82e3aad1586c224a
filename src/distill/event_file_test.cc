// The event file against the bytes that TensorBoard's own writer makes of the same events
// (tools/golden/make_event_file.py).
#include "distill/event_file.h"

#include <gtest/gtest.h>
#include <limits>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::distill {
namespace {

TEST(EventFile, IsWhatTensorBoardWrites) {
  const testing::TempDir folder;
  {
    EventFile events(folder / "events.bin", 1700000000.25);
    events.add(1700000001.5, 0, {{"held_out/kl", 11.0625}});
    events.add(1700000002.5, 1, {{"train/loss", 3.14159}, {"train/lr", 0.0}});
    events.add(
        1700000003.5, 3000000000,
        {{"train/loss", -1e-30}, {std::string(200, 't'), std::numeric_limits<double>::infinity()}});
  }
  EXPECT_EQ(read_file(folder / "events.bin"), read_file(testing::golden("events") / "events.bin"));
}

TEST(EventFile, AFullDiskIsSaid) {
  EXPECT_THROW(EventFile("/dev/full", 0), Error);
  EXPECT_THROW(EventFile("/no such folder/events", 0), Error);
}

}  // namespace
}  // namespace onebit::distill
