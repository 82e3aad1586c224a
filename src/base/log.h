// The library never prints: it hands messages to a sink that the program installs (cli does).
#pragma once

#include <functional>
#include <string_view>

namespace onebit {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, std::string_view)>;

/// Installs the receiver of all messages; an empty sink drops them. Call before starting threads.
void set_log_sink(LogSink sink);

/// Thread-safe: calls to the sink do not overlap.
void log(LogLevel level, std::string_view message);

}  // namespace onebit
