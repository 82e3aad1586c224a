// What a command is to the program: options that it defines, and a run. One file per command,
// cmd_<name>.cc, and one line in command_list.inc.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "cli/console.h"
#include "cli/interrupts.h"

namespace onebit::cli {

/// A command line that parses but cannot be meant (two flags that exclude each other): exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Context {
  Console& console;        ///< results, logs, progress
  Interrupts& interrupts;  ///< SIGINT, SIGTERM, SIGHUP
  std::string isa;         ///< the environment's ONEBIT_ISA; "" when unset
  std::string command;     ///< "onebit eval …", as a shell takes it: for the record
};

class Command {
 public:
  virtual ~Command() = default;

  /// Adds this command's options and positionals; --help, --json and --log-level are there already.
  virtual void define(CLI::App& app) = 0;

  /// Runs after parsing. Throws Error (exit code by kind) or UsageError.
  virtual void run(Context& context) = 0;
};

/// One line of command_list.inc.
struct CommandEntry {
  const char* name;
  const char* summary;
  std::unique_ptr<Command> (*make)();  ///< null: the command lives in the toolkit
};

}  // namespace onebit::cli

/// At the end of cmd_<name>.cc: the function that the list refers to.
#define ONEBIT_DEFINE_COMMAND(name, Type)                                    \
  std::unique_ptr<onebit::cli::Command> onebit::cli::make_command_##name() { \
    return std::make_unique<Type>();                                         \
  }                                                                          \
  static_assert(true)
