#include "cli/program.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "cli/exit_code.h"
#include "cli/flags.h"
#include "cli/toolkit.h"

namespace onebit::cli {
namespace {

const CommandEntry* find(const Program& program, std::string_view name) {
  for (const CommandEntry& entry : program.commands) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

constexpr const char* kVerbosityNames[] = {"debug", "info", "warning", "error", "off"};

/// The options of every command.
struct CommonFlags {
  std::string log_level = "info";
  bool json = false;

  Verbosity verbosity() const {
    const auto* name = std::find(std::begin(kVerbosityNames), std::end(kVerbosityNames), log_level);
    return static_cast<Verbosity>(name - std::begin(kVerbosityNames));
  }
};

void define_common(CLI::App& app, CommonFlags& flags) {
  app.add_flag("--json", flags.json, "print one JSON object on stdout at the end, nothing else");
  define_choice(app, "--log-level", flags.log_level, "how much to tell on stderr",
                {std::begin(kVerbosityNames), std::end(kVerbosityNames)});
}

/// A command's parser, with everything that its help shows.
struct Parser {
  explicit Parser(const CommandEntry& entry) : app(entry.summary), command(entry.make()) {
    app.name(fmt::format("onebit {}", entry.name));
    app.get_formatter()->column_width(34);
    command->define(app);
    define_common(app, common);
  }

  CLI::App app;
  std::unique_ptr<Command> command;
  CommonFlags common;
};

int usage_error(Console& console, std::string_view message, std::string_view help) {
  console.error(fmt::format("{} (see '{}')", message, help));
  return kExitUsage;
}

int run_command(const CommandEntry& entry, int argc, char** argv, Console& console) {
  Parser parser(entry);
  const std::string help = fmt::format("onebit {} --help", entry.name);
  try {
    parser.app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    console.print(parser.app.help());
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    return usage_error(console, error.what(), help);
  }
  console.set_verbosity(parser.common.verbosity());
  console.set_json(parser.common.json);
  Interrupts interrupts;
  const char* isa = std::getenv("ONEBIT_ISA");
  Context context{console, interrupts, isa == nullptr ? "" : isa};
  try {
    parser.command->run(context);
  } catch (const UsageError& error) {
    return usage_error(console, error.what(), help);
  }
  return kExitDone;
}

int dispatch(const Program& program, int argc, char** argv, Console& console) {
  if (argc < 2) return usage_error(console, "no command given", "onebit help");
  const std::string_view word = argv[1];
  if (word == "--version" || word == "version") {
    console.print("onebit " ONEBIT_VERSION "\n");
    return kExitDone;
  }
  const bool help = word == "help" || word == "--help" || word == "-h";
  if (help && argc == 2) {
    console.print(general_help(program));
    return kExitDone;
  }
  if (word == "docs" && argc == 2) {
    console.print(docs_markdown(program));
    return kExitDone;
  }
  const std::string_view name = help ? argv[2] : argv[1];
  const CommandEntry* entry = find(program, name);
  if (entry == nullptr) {
    const std::string_view kind = name.starts_with('-') ? "option" : "command";
    return usage_error(console, fmt::format("unknown {} '{}'", kind, name), "onebit help");
  }
  // `help CMD` reads as `CMD --help`.
  std::string first(entry->name);
  std::string second("--help");
  char* help_argv[] = {argv[0], first.data(), second.data(), nullptr};
  if (help) {
    argc = 3;
    argv = help_argv;
  }
  if (entry->make != nullptr) return run_command(*entry, argc - 1, argv + 1, console);
  if (program.toolkit) {
    return usage_error(console, fmt::format("'{}' is not a command of the toolkit", name),
                       "onebit help");
  }
  exec_toolkit(entry->name, argv);
}

}  // namespace

int run_program(const Program& program, int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is reported by write() instead
  Console console;
  try {
    return dispatch(program, argc, argv, console);
  } catch (const BrokenPipe&) {
    return kExitDone;  // whoever closed the pipe had enough
  } catch (const Error& error) {
    console.error(error.what());
    return exit_code(error.code());
  } catch (const std::bad_alloc&) {
    console.error("out of memory");
  } catch (const std::exception& error) {
    console.error(error.what());
  }
  return kExitFailed;
}

std::string general_help(const Program& program) {
  std::string text = "onebit " ONEBIT_VERSION
                     ": 1-bit large language models: quantise, distil, measure, run\n"
                     "\n"
                     "Usage: onebit COMMAND [OPTIONS]\n"
                     "       onebit help COMMAND | onebit COMMAND --help | onebit --version\n"
                     "\n"
                     "Commands:\n";
  for (const CommandEntry& entry : program.commands) {
    text += fmt::format("  {:<12} {}\n", entry.name, entry.summary);
  }
  text +=
      "\n"
      "MODEL is a GGUF file or a Hugging Face folder, told apart by content.\n"
      "Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 failed,\n"
      "2 wrong usage, 130 interrupted. The environment variable ONEBIT_ISA forces an\n"
      "instruction set (one of those that `onebit info MODEL` names).\n";
  return text;
}

std::string docs_markdown(const Program& program) {
  std::string text;
  for (const CommandEntry& entry : program.commands) {
    if (entry.make == nullptr) continue;
    Parser parser(entry);
    text += fmt::format("\n## onebit {}\n\n```\n{}```\n", entry.name, parser.app.help());
  }
  return text;
}

}  // namespace onebit::cli
