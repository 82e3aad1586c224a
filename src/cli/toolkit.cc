#include "cli/toolkit.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <system_error>
#include <unistd.h>

#include "base/error.h"

namespace onebit::cli {
namespace {

constexpr const char* kToolkitName = "onebit-toolkit";

}  // namespace

std::optional<std::filesystem::path> find_toolkit(const std::filesystem::path& folder) {
  for (const auto& place : {folder, folder.parent_path() / "libexec" / "onebit"}) {
    const std::filesystem::path candidate = place / kToolkitName;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

void exec_toolkit(const char* command, char** argv) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot read /proc/self/exe: {}", error.message()));
  }
  const auto toolkit = find_toolkit(self.parent_path());
  if (!toolkit) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' needs {}, which is neither in {} nor in ../libexec/onebit beside "
                            "it: install a build that has libtorch",
                            command, kToolkitName, self.parent_path().string()));
  }
  ::execv(toolkit->c_str(), argv);
  throw Error(ErrorCode::kIo,
              fmt::format("cannot start {}: {}", toolkit->string(), std::strerror(errno)));
}

}  // namespace onebit::cli
