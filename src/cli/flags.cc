#include "cli/flags.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace onebit::cli {

CLI::Validator not_empty(const char* what) {
  return {[what](std::string& word) {
            return word.empty() ? fmt::format("found an empty word, expected {}", what)
                                : std::string();
          },
          ""};
}

CLI::Validator parses(const std::function<void(const std::string&)>& parse) {
  return {[parse](std::string& word) -> std::string {
            try {
              parse(word);
            } catch (const Error& error) {
              return error.what();
            }
            return {};
          },
          ""};
}

void require_groups(arch::Form form, std::int64_t group_size) {
  try {
    arch::require_group_size(form, group_size);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

CLI::Validator one_of(const std::vector<std::string_view>& choices) {
  return {[choices](std::string& word) {
            const bool known = std::find(choices.begin(), choices.end(), word) != choices.end();
            return known ? std::string()
                         : fmt::format("found '{}', expected one of {}", word,
                                       fmt::join(choices, ", "));
          },
          ""};
}

void define_model(CLI::App& app, std::string& model, const char* name) {
  app.add_option(name, model, "a GGUF file or a Hugging Face folder")
      ->required()
      ->check(not_empty("a path"))
      ->type_name("");  // the name says it
}

CLI::Option* define_choice(CLI::App& app, const char* flags,
                           const std::function<void(const std::string&)>& take,
                           const std::string& description,
                           const std::vector<std::string_view>& choices) {
  return app
      .add_option_function<std::string>(
          flags, take, fmt::format("{}: {}", description, fmt::join(choices, ", ")))
      ->check(one_of(choices))
      ->type_name("NAME");
}

CLI::Option* define_choice(CLI::App& app, const char* flags, std::string& value,
                           const std::string& description,
                           const std::vector<std::string_view>& choices) {
  return define_choice(
             app, flags, [&value](const std::string& word) { value = word; }, description, choices)
      ->default_str(value);
}

CLI::Option* define_path(CLI::App& app, const char* flags, std::string& value,
                         const char* description) {
  return app.add_option(flags, value, description)->check(not_empty("a path"))->type_name("PATH");
}

void define_threads(CLI::App& app, int& threads) {
  define_number(app, "-t,--threads", threads, "threads; 0: one per hardware thread", 0, 1024);
}

CLI::Option* define_seed(CLI::App& app, std::int64_t& seed) {
  return define_number(app, "-s,--seed", seed, "seed of the random draws; -1: another every time",
                       std::int64_t{-1}, std::numeric_limits<std::int64_t>::max());
}

std::uint64_t actual_seed(std::int64_t seed) {
  if (seed >= 0) return static_cast<std::uint64_t>(seed);
  return std::random_device()();
}

CLI::Option* define_device(CLI::App& app, std::string& device) {
  return define_choice(app, "--device", device, "where to run", {"cpu", "cuda"});
}

void require_cpu(const std::string& device) {
  if (device == "cpu") return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("--device: found {}, expected cpu: this command has no other", device));
}

void require_other_file(const std::filesystem::path& model, const std::filesystem::path& out) {
  std::error_code error;
  if (!std::filesystem::exists(out, error)) return;
  const std::filesystem::path target = std::filesystem::canonical(out, error);
  // A GGUF in a Hugging Face folder is no file of that model: an earlier output, say.
  const bool same = std::filesystem::equivalent(model, out, error) ||
                    (target.extension() != ".gguf" &&
                     std::filesystem::equivalent(model, target.parent_path(), error));
  if (!same) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: found a file of the model itself, expected another place to write "
                          "to",
                          out.string()));
}

void require_other_files(std::span<const std::string> inputs, const std::filesystem::path& out) {
  for (const std::string& input : inputs) {
    if (input.empty()) continue;
    std::error_code absent;
    if (input != out && !std::filesystem::equivalent(input, out, absent)) continue;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: found another file of this command, expected another place to "
                            "write to",
                            out.string()));
  }
}

CLI::Option* define_activations(CLI::App& app, runtime::Activations& activations) {
  return define_choice(
      app, "--activations", activations,
      "what a packed model's matrices multiply, exact floats or int8 rounded by blocks of 128");
}

CLI::Option* define_kv_type(CLI::App& app, runtime::KvType& type) {
  return define_choice(app, "--kv-type", type, "how keys and values are kept");
}

void define_runtime(CLI::App& app, RuntimeFlags& flags) {
  define_threads(app, flags.threads);
  define_device(app, flags.device);
  define_activations(app, flags.activations);
  define_kv_type(app, flags.kv);
}

void make_exact(RuntimeFlags& flags) {
  flags.activations = runtime::Activations::kF32;
  flags.kv = runtime::KvType::kF32;
}

runtime::Model load_model(const Context& context, const RuntimeFlags& flags) {
  require_cpu(flags.device);
  const auto begin = std::chrono::steady_clock::now();
  runtime::ModelOptions options;
  options.threads = flags.threads;
  options.isa = context.isa;
  options.activations = flags.activations;
  options.kv = flags.kv;
  runtime::Model model = runtime::Model::load(flags.model, options);
  log(LogLevel::kDebug,
      fmt::format("{}: {} layers, {} kernels, {} threads, loaded in {:.2f} s", flags.model,
                  model.config().layers, model.kernels().name, model.threads(),
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  return model;
}

}  // namespace onebit::cli
