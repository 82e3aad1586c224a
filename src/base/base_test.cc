// Tests of the small pieces of base: checks, arithmetic, files, threads, random numbers.
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/rng.h"
#include "base/test_paths.h"
#include "base/thread_pool.h"
#include "base/words.h"

namespace onebit {

enum class Fruit : std::uint8_t { kApple, kFig };

template <>
struct Words<Fruit> {
  static constexpr Word<Fruit> kAll[] = {{Fruit::kFig, "fig"}, {Fruit::kApple, "apple"}};
};

namespace {

using ::testing::HasSubstr;

TEST(Check, NamesConditionAndPlace) {
  try {
    ONEBIT_CHECK(1 + 1 == 3);
    FAIL();
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), HasSubstr("1 + 1 == 3"));
    EXPECT_THAT(error.what(), HasSubstr("base_test.cc:"));
  }
}

TEST(Checked, OverflowIsNothing) {
  EXPECT_EQ(checked_mul(1ULL << 32, 1ULL << 31), 1ULL << 63);
  EXPECT_FALSE(checked_mul(1ULL << 32, 1ULL << 32));
  EXPECT_EQ(checked_add(~0ULL - 1, 1), ~0ULL);
  EXPECT_FALSE(checked_add(~0ULL, 1));
}

TEST(AtomicFile, AppearsOnlyOnCommit) {
  const testing::TempDir dir;
  {
    AtomicFile file(dir / "out");
    file.write("lost");
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  const std::string big(3'000'001, 'x');
  AtomicFile file(dir / "out");
  file.write(big);
  EXPECT_FALSE(std::filesystem::exists(dir / "out"));
  EXPECT_EQ(file.position(), big.size());
  file.commit();
  EXPECT_EQ(read_file(dir / "out"), big);
}

TEST(AtomicFile, MissingFolderIsOneClearError) {
  try {
    AtomicFile file("/nonexistent-folder/out");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("/nonexistent-folder/out: No such file"));
  }
}

TEST(AtomicFile, NeverReplacesAFolderOrADevice) {
  const testing::TempDir dir;
  const std::filesystem::path pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const std::filesystem::path& place : {dir.path(), pipe}) {
    try {
      AtomicFile file(place);
      FAIL() << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      EXPECT_THAT(error.what(), HasSubstr(place == pipe ? "found a device or pipe, expected a file"
                                                        : "found a folder, expected a file"));
    }
  }
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(AtomicFile, FullDiskIsAnErrorAndLeavesNothing) {
  // /dev/full refuses every write, as a full disk does; the rename is never reached.
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "absent: /dev/full";
  const testing::TempDir dir;
  const auto temporary = dir.path() / ("out.tmp-" + std::to_string(::getpid()));
  std::filesystem::create_symlink("/dev/full", temporary);
  {
    AtomicFile file(dir / "out");
    file.write("something");
    EXPECT_THROW(file.commit(), Error);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(AtomicFile, CopiesAreFilesOfTheirOwn) {
  const testing::TempDir dir;
  for (const std::size_t size : {0UL, 1UL, 1UL << 20, (3UL << 20) + 1}) {
    std::string content(size, 'x');
    if (size > 0) content.back() = 'y';
    write_file(dir / "from", content);
    copy_atomically(dir / "from", dir / "to");
    std::ofstream(dir / "from", std::ios::binary) << "other";
    EXPECT_EQ(read_file(dir / "to"), content);
  }
  EXPECT_THROW(copy_atomically(dir / "absent", dir / "to"), Error);
  EXPECT_EQ(read_file(dir / "to").size(), (3UL << 20) + 1);
}

TEST(AtomicFile, WhatDeadProcessesHaveLeftIsRemoved) {
  const testing::TempDir dir;
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  const std::string of_dead = "out.tmp-" + std::to_string(dead);
  const std::string of_living = "out.tmp-" + std::to_string(::getpid());
  const std::vector<std::string> others = {
      "out", of_living, "out.tmp-", "out.tmp-1x", "out.tmp-0", "other.tmp-" + std::to_string(dead)};
  for (const std::string& name : others) write_file(dir / name, "a");
  write_file(dir / of_dead, "a");
  remove_abandoned(dir / "out");
  EXPECT_FALSE(std::filesystem::exists(dir / of_dead));
  for (const std::string& name : others) EXPECT_TRUE(std::filesystem::exists(dir / name)) << name;
}

TEST(MappedFile, EmptyAbsentAndFolder) {
  const testing::TempDir dir;
  write_file(dir / "empty", "");
  EXPECT_TRUE(MappedFile::open(dir / "empty").bytes().empty());
  EXPECT_THROW(MappedFile::open(dir / "absent"), Error);
  EXPECT_THROW(MappedFile::open(dir.path()), Error);
}

TEST(MappedFile, APipeIsAnErrorAndDoesNotBlock) {
  const testing::TempDir dir;
  const std::filesystem::path pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto open = [&] {
    ::alarm(60);  // ends the process if it blocks
    try {
      MappedFile::open(pipe);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(error.code() == ErrorCode::kIo ? 0 : 1);
    }
    std::_Exit(2);
  };
  EXPECT_EXIT(open(), ::testing::ExitedWithCode(0), "pipe: not a regular file");
}

TEST(MappedFile, ReleasedPagesReadTheSame) {
  const testing::TempDir dir;
  write_file(dir / "f", std::string(100'000, 'a'));
  const MappedFile file = MappedFile::open(dir / "f");
  file.release(1, 99'998);
  file.release(0, ~std::size_t{0} / 2);
  file.release(200'000, 1);
  for (const std::byte b : file.bytes()) ASSERT_EQ(b, std::byte{'a'});
}

TEST(ThreadPool, EveryIndexOnceOnGrainBoundaries) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (const std::int64_t count : {0, 1, 2, 5, 64, 97, 1000}) {
      for (const std::int64_t grain : {1, 4, 32}) {
        std::vector<int> hits(static_cast<std::size_t>(count), 0);
        std::atomic<int> misaligned{0};
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int part) {
          if (begin % grain != 0 || part < 0 || part >= threads) ++misaligned;
          for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
        EXPECT_EQ(misaligned, 0);
        EXPECT_THAT(hits, ::testing::Each(1));
      }
    }
  }
}

/// The other threads take over what one that is held up has not begun, and it must find nothing of
/// a job that is over.
TEST(ThreadPool, ALateWorkerMissesNothingAndHoldsNobodyUp) {
  ThreadPool pool(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> hits(3);
    const auto hit = [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
    };
    // Longer than the workers spin: they sleep, and wake up late for the second job.
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    pool.parallel_for(3, 1, hit);
    for (int job = 0; job < 20; ++job) pool.parallel_for(3, 1, hit);
    for (const std::atomic<int>& count : hits) ASSERT_EQ(count, 21);
  }
}

TEST(ThreadPool, EveryTaskOnce) {
  for (const int threads : {1, 2, 7}) {
    ThreadPool pool(threads);
    for (const std::int64_t count : {0, 1, 2, 64, 1000}) {
      std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
      std::atomic<int> strangers{0};
      pool.parallel_tasks(count, [&](std::int64_t task, int worker) {
        if (worker < 0 || worker >= threads) ++strangers;
        ++hits[static_cast<std::size_t>(task)];
      });
      EXPECT_EQ(strangers, 0);
      for (const std::atomic<int>& hit : hits) EXPECT_EQ(hit, 1);
    }
  }
}

TEST(ThreadPool, ManySmallJobsInOrder) {
  ThreadPool pool(3);
  std::int64_t sum = 0;
  for (int round = 0; round < 5000; ++round) {
    std::array<std::int64_t, 3> part{};
    pool.parallel_for(3, 1, [&](std::int64_t begin, std::int64_t end, int i) {
      part[static_cast<std::size_t>(i)] = end - begin;
    });
    sum += std::accumulate(part.begin(), part.end(), std::int64_t{0});
  }
  EXPECT_EQ(sum, 15000);
}

TEST(ThreadPool, TooManyThreadsAreAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs more address space than the limit leaves";
#endif
  const auto start = [] {
    constexpr rlim_t kSpace = rlim_t{256} << 20;  // stacks of a few threads
    const rlimit limit{kSpace, kSpace};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(3);
    try {
      const ThreadPool pool(100'000);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(error.code() == ErrorCode::kResource ? 0 : 1);
    }
    std::_Exit(2);
  };
  EXPECT_EXIT(start(), ::testing::ExitedWithCode(0),
              "threads: found room for [0-9]+, expected 100000");
}

TEST(Words, NameValuesAndNothingElse) {
  EXPECT_EQ(word_of(Fruit::kFig), "fig");
  EXPECT_EQ(value_of<Fruit>("apple"), Fruit::kApple);
  EXPECT_EQ(value_of<Fruit>("Apple"), std::nullopt);
  EXPECT_EQ(value_of<Fruit>(""), std::nullopt);
  EXPECT_THAT(all_words<Fruit>(), ::testing::ElementsAre("fig", "apple"));  // the table's order
}

TEST(Rng, FixedSequenceAndRange) {
  Rng a(5489);
  EXPECT_EQ(a.next(), 14514284786278117030ULL);  // the standard's first value of mt19937_64
  Rng b(1);
  for (int i = 0; i < 1000; ++i) {
    const double u = b.uniform();
    ASSERT_TRUE(u >= 0.0 && u < 1.0);
    ASSERT_LT(b.below(7), 7U);
  }
}

TEST(Log, SinkReceives) {
  std::string seen;
  set_log_sink([&](LogLevel level, std::string_view text) {
    if (level == LogLevel::kWarning) seen = text;
  });
  log(LogLevel::kWarning, "careful");
  set_log_sink({});
  log(LogLevel::kWarning, "dropped");
  EXPECT_EQ(seen, "careful");
}

}  // namespace
}  // namespace onebit
