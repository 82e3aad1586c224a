#include "cli/program.h"

#include <csignal>
#include <cstdlib>
#include <exception>
#include <fmt/format.h>
#include <new>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "cli/exit_code.h"
#include "cli/flags.h"
#include "cli/suggestion.h"
#include "cli/toolkit.h"
#include "kernels/kernels.h"

namespace onebit::cli {
namespace {

const CommandEntry* find(const Program& program, std::string_view name) {
  for (const CommandEntry& entry : program.commands) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

/// The options of every command.
struct CommonFlags {
  Verbosity verbosity = Verbosity::kInfo;
  bool json = false;
};

void define_common(CLI::App& app, CommonFlags& flags) {
  app.add_flag("--json", flags.json, "print one JSON object on stdout at the end, nothing else");
  define_choice(app, "--log-level", flags.verbosity, "how much to tell on stderr");
}

/// Scripts give these to any command: one that has no use for them takes them and says so.
class UnusedFlags {
 public:
  void define(CLI::App& app) {
    const auto add = [&](const char* name, const char* flags) {
      if (app.get_option_no_throw(name) != nullptr) return;
      options_.push_back(
          app.add_option(flags, number_)->transform(number_within(kLeast, kMaxCount)));
      options_.back()->group(kHiddenGroup);
    };
    add("--threads", "-t,--threads");
    add("--ctx-size", "-c,--ctx-size");
    add("--seed", "-s,--seed");
    if (app.get_option_no_throw("--device") == nullptr) {
      define_device(app, device_)->group(kHiddenGroup);
    }
  }

  void report(Console& console) const {
    require_cpu(device_);
    for (const CLI::Option* option : options_) {
      if (option->count() == 0) continue;
      console.message(LogLevel::kWarning, fmt::format("--{}: this command has no use for it",
                                                      option->get_lnames().front()));
    }
  }

 private:
  static constexpr std::int64_t kLeast = -1;
  std::vector<CLI::Option*> options_;
  std::int64_t number_ = 0;
  std::string device_ = "cpu";
};

/// A command's parser, with everything that its help shows.
struct Parser {
  explicit Parser(const CommandEntry& entry) : app(entry.summary), command(entry.make()) {
    app.name(fmt::format("onebit {}", entry.name));
    app.get_formatter()->column_width(34);
    command->define(app);
    define_common(app, common);
    unused.define(app);
  }

  CLI::App app;
  std::unique_ptr<Command> command;
  CommonFlags common;
  UnusedFlags unused;
};

/// Of a parser that parses no more: CLI11 has no name for an option without a group.
std::string help_of(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_group() == kHiddenGroup) option->group("");
  }
  return app.help();
}

int usage_error(Console& console, std::string_view message, std::string_view help) {
  console.error(fmt::format("{} (see '{}')", message, help));
  return kExitUsage;
}

/// What the parser had no use for. An option that it does not know it takes for a positional.
std::string unexpected_word(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining();
  const std::string word = words.empty() ? "" : words.front().substr(0, words.front().find('='));
  if (!word.starts_with('-')) return fmt::format("unexpected argument '{}'", word);
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::vector<std::string_view> choices(names.begin(), names.end());
  return with_suggestion(fmt::format("unknown option '{}'", word), word, choices);
}

/// The environment's ONEBIT_ISA, checked here so that the message can say where it comes from.
std::string forced_isa() {
  const char* isa = std::getenv("ONEBIT_ISA");
  if (isa == nullptr || *isa == '\0') return "";
  try {
    return std::string(kernels::kernels_by_name(isa).name);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("environment variable ONEBIT_ISA: {}", error.what()));
  }
}

/// The words as one line that a shell reads back.
std::string command_text(int argc, char** argv) {
  std::string text = "onebit";
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./:,@%";
    text += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

int run_command(const Program& program, const CommandEntry& entry, int argc, char** argv,
                Console& console) {
  Parser parser(entry);
  const std::string help = fmt::format("onebit {} --help", entry.name);
  try {
    parser.app.parse(argc - 1, argv + 1);
  } catch (const CLI::CallForHelp&) {
    console.print(help_of(parser.app));
    return kExitDone;
  } catch (const CLI::ExtrasError&) {
    return usage_error(console, unexpected_word(parser.app), help);
  } catch (const CLI::ParseError& error) {
    return usage_error(console, error.what(), help);
  }
  // Before anything is done: the toolkit begins the command anew.
  if (parser.command->needs_torch() && !program.toolkit) {
    exec_toolkit(fmt::format("{} --engine torch", entry.name).c_str(), argv);
  }
  console.set_verbosity(parser.common.verbosity);
  console.set_json(parser.common.json);
  Interrupts interrupts;
  Context context{console, interrupts, forced_isa(), program.open_torch,
                  command_text(argc - 1, argv + 1)};
  try {
    parser.unused.report(console);
    parser.command->run(context);
  } catch (const UsageError& error) {
    return usage_error(console, error.what(), help);
  }
  return kExitDone;
}

std::string unknown_word(const Program& program, std::string_view word) {
  if (word.starts_with('-')) return fmt::format("unknown option '{}' before the command", word);
  std::vector<std::string_view> names;
  for (const CommandEntry& entry : program.commands) names.emplace_back(entry.name);
  return with_suggestion(fmt::format("unknown command '{}'", word), word, names);
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
    return usage_error(console, unknown_word(program, name), "onebit help");
  }
  // `help CMD` reads as `CMD --help`.
  std::string first(entry->name);
  std::string second("--help");
  char* help_argv[] = {argv[0], first.data(), second.data(), nullptr};
  if (help) {
    argc = 3;
    argv = help_argv;
  }
  if (entry->make != nullptr) return run_command(program, *entry, argc, argv, console);
  if (program.toolkit) {
    return usage_error(console, fmt::format("'{}' is not a command of the toolkit", name),
                       "onebit help");
  }
  exec_toolkit(entry->name, argv);
}

}  // namespace

int run_program(const Program& program, int argc, char** argv) {
  // A closed stdout and a limit on file sizes are reported by write() instead.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
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
      "MODEL is a GGUF file or a Hugging Face folder, told apart by content. Every command\n"
      "takes -t, -c, -s, --device, --log-level and --json.\n"
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
    text += fmt::format("\n## onebit {}\n\n```\n{}```\n", entry.name, help_of(parser.app));
  }
  return text;
}

}  // namespace onebit::cli
