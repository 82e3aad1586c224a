// The program's one voice: results on stdout, logs and progress on stderr, JSON instead of text
// when asked for. Everything that a command prints goes through here.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/progress.h"
#include "base/words.h"

namespace onebit::cli {

/// Nobody reads stdout any more (`onebit … | head`): the program ends quietly.
struct BrokenPipe {};

/// The names that --log-level takes; kOff silences progress and messages, not the final error.
enum class Verbosity : std::uint8_t { kDebug, kInfo, kWarning, kError, kOff };

class Console {
 public:
  Console();
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void set_verbosity(Verbosity verbosity) { verbosity_ = verbosity; }
  void set_json(bool json) { json_ = json; }
  bool json() const { return json_; }

  /// For a command whose result is a file: when nobody reads stdout any more it goes on, unheard.
  void outlive_stdout() { outlive_stdout_ = true; }

  /// Result text, as it is, at once. Left out when --json was given. Throws BrokenPipe, or
  /// Error{kIo} when stdout cannot be written (a full disk).
  void print(std::string_view text);

  /// The result as one JSON object on one line; left out unless --json was given.
  void print_json(const nlohmann::ordered_json& object);

  /// A message for people, on stderr: "onebit: warning: …"; information has no prefix.
  void message(LogLevel level, std::string_view text);

  /// The final word of a program that failed: always shown, always one line.
  void error(std::string_view text);

  /// A display of one long job: a bar on a terminal, a plain line now and then elsewhere, nothing
  /// with --log-level warning and above. `unit` names what is counted: "tokens". At most one at a
  /// time; it disappears (bar) or gives a last line (plain) when destroyed.
  std::unique_ptr<Progress> progress(std::string label, std::string unit);

 private:
  class Display;

  void write_stdout(std::string_view text);
  void write_stderr(std::string_view text);
  void draw_bar(std::string_view bar);
  void clear_bar();

  std::mutex mutex_;
  Verbosity verbosity_ = Verbosity::kInfo;
  bool json_ = false;
  bool outlive_stdout_ = false;
  bool terminal_;              ///< stderr is one
  bool bar_drawn_ = false;     ///< the cursor stands in a bar's line
  bool at_line_start_ = true;  ///< of stdout
};

}  // namespace onebit::cli

namespace onebit {

template <>
struct Words<cli::Verbosity> {
  static constexpr Word<cli::Verbosity> kAll[] = {{cli::Verbosity::kDebug, "debug"},
                                                  {cli::Verbosity::kInfo, "info"},
                                                  {cli::Verbosity::kWarning, "warning"},
                                                  {cli::Verbosity::kError, "error"},
                                                  {cli::Verbosity::kOff, "off"}};
};

}  // namespace onebit
