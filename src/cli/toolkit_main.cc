// `onebit-toolkit`: the commands that need libtorch, and those that can score with it. Users type
// `onebit`, which starts it.
#include <cstdlib>

#include "cli/command_table.h"
#include "cli/program.h"
#include "cli/scorer_source.h"
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

constexpr onebit::cli::CommandEntry kCommands[] = {
#define ONEBIT_COMMAND(name, summary) {#name, summary, nullptr},
#define ONEBIT_TOOLKIT_COMMAND(name, summary) {#name, summary, onebit::cli::make_command_##name},
#define ONEBIT_SCORING_COMMAND ONEBIT_TOOLKIT_COMMAND
#include "cli/command_list.inc"
#undef ONEBIT_COMMAND
#undef ONEBIT_SCORING_COMMAND
#undef ONEBIT_TOOLKIT_COMMAND
};

/// Keeps freed memory for the next allocation. By default every large tensor is mapped anew and its
/// pages are faulted in again, step after step: 7 % of a distillation's time.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kNever = -1;
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, kNever);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  return onebit::cli::run_program(
      {.commands = kCommands, .toolkit = true, .open_torch = onebit::cli::open_torch_scorer}, argc,
      argv);
}
