// What both programs do with a command line: find the command, parse, run, and turn the outcome
// into an exit code.
#pragma once

#include <span>
#include <string>

#include "cli/command.h"

namespace onebit::cli {

/// `commands` are all of the list, those of the other program with a null factory.
struct Program {
  std::span<const CommandEntry> commands;
  bool toolkit = false;            ///< this is onebit-toolkit
  OpenTorch open_torch = nullptr;  ///< for Context
};

/// Never throws; the exit code is the result (exit_code.h). A toolkit command given to `onebit`, or
/// one that needs libtorch, replaces this process.
int run_program(const Program& program, int argc, char** argv);

/// The general help text.
std::string general_help(const Program& program);

/// docs/cli.md's part about this program's own commands.
std::string docs_markdown(const Program& program);

}  // namespace onebit::cli
