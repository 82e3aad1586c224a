// `onebit`: every command that needs no autograd; it starts onebit-toolkit for the others.
#include "cli/command_table.h"
#include "cli/program.h"

namespace {

constexpr onebit::cli::CommandEntry kCommands[] = {
#define ONEBIT_COMMAND(name, summary) {#name, summary, onebit::cli::make_command_##name},
#define ONEBIT_SCORING_COMMAND ONEBIT_COMMAND
#define ONEBIT_TOOLKIT_COMMAND(name, summary) {#name, summary, nullptr},
#include "cli/command_list.inc"
#undef ONEBIT_COMMAND
#undef ONEBIT_SCORING_COMMAND
#undef ONEBIT_TOOLKIT_COMMAND
};

}  // namespace

int main(int argc, char** argv) {
  return onebit::cli::run_program({.commands = kCommands, .toolkit = false}, argc, argv);
}
