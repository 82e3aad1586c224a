// `onebit-toolkit`: the commands that need libtorch. Users type `onebit`, which starts it.
#include "cli/command_table.h"
#include "cli/program.h"

namespace {

constexpr onebit::cli::CommandEntry kCommands[] = {
#define ONEBIT_COMMAND(name, summary) {#name, summary, nullptr},
#define ONEBIT_TOOLKIT_COMMAND(name, summary) {#name, summary, onebit::cli::make_command_##name},
#include "cli/command_list.inc"
#undef ONEBIT_COMMAND
#undef ONEBIT_TOOLKIT_COMMAND
};

}  // namespace

int main(int argc, char** argv) {
  return onebit::cli::run_program({.commands = kCommands, .toolkit = true}, argc, argv);
}
