// Starts onebit-toolkit in place of this process.
#pragma once

#include <filesystem>
#include <optional>

namespace onebit::cli {

/// The toolkit's place for a program in `folder`: beside it, or ../libexec/onebit/.
std::optional<std::filesystem::path> find_toolkit(const std::filesystem::path& folder);

/// Replaces this process, so that signals and exit codes need no passing on; arguments stay as they
/// are. Returns only by exception: Error{kNotFound} when the toolkit is not installed, Error{kIo}.
[[noreturn]] void exec_toolkit(const char* command, char** argv);

}  // namespace onebit::cli
