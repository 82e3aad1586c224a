// Where tests find what they read. Only *_test.cc files include this.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

namespace onebit::testing {

/// tests/golden/<name>: small files made by tools/golden/*.py, committed.
inline std::filesystem::path golden(const std::filesystem::path& name) {
  return std::filesystem::path(ONEBIT_SOURCE_DIR) / "tests" / "golden" / name;
}

/// A file of the shared data folder beside the checkout; it may be absent (skip then).
inline std::filesystem::path shared_data(const std::filesystem::path& name) {
  return std::filesystem::path(ONEBIT_SOURCE_DIR) / ".." / "shared" / "data" / name;
}

/// What tools/setup.sh fetches or converts: .deps/models/<name>; it may be absent (skip then).
inline std::filesystem::path model(const std::filesystem::path& name) {
  return std::filesystem::path(ONEBIT_SOURCE_DIR) / ".deps" / "models" / name;
}

/// A fresh folder for this test, removed with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "onebit-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace onebit::testing

/// Skips the test, saying what is missing, where real data is absent.
#define ONEBIT_REQUIRE_FILE(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "absent: " << (path).string()
