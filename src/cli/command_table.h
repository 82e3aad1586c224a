// The factories of every listed command, for the commands' own files and for the two programs.
#pragma once

#include <memory>

#include "cli/command.h"

namespace onebit::cli {

#define ONEBIT_COMMAND(name, summary) std::unique_ptr<Command> make_command_##name();
#define ONEBIT_SCORING_COMMAND ONEBIT_COMMAND
#define ONEBIT_TOOLKIT_COMMAND(name, summary) std::unique_ptr<Command> make_command_##name();
#include "cli/command_list.inc"
#undef ONEBIT_COMMAND
#undef ONEBIT_SCORING_COMMAND
#undef ONEBIT_TOOLKIT_COMMAND

}  // namespace onebit::cli
