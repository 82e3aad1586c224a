// Flags that several commands share, so that they read and check alike everywhere.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/words.h"
#include "cli/command.h"
#include "runtime/model.h"

namespace onebit::cli {

/// Refuses an empty word; `what` is what was expected.
CLI::Validator not_empty(const char* what);

/// Refuses what `parse` throws an Error for, with its message.
CLI::Validator parses(const std::function<void(const std::string&)>& parse);

/// Throws UsageError for groups of inputs that 1-bit layers of this form do not have.
void require_groups(arch::Form form, std::int64_t group_size);

/// The group of options that the help does not show.
inline constexpr const char* kHiddenGroup = "hidden";

/// Accepts one of a few words.
CLI::Validator one_of(const std::vector<std::string_view>& choices);

/// MODEL (or TEACHER), a positional. An empty name is wrong usage, here and in define_path().
void define_model(CLI::App& app, std::string& model, const char* name = "MODEL");

/// One word out of a few, which the help lists after `description`; `take` gets it.
CLI::Option* define_choice(CLI::App& app, const char* flags,
                           const std::function<void(const std::string&)>& take,
                           const std::string& description,
                           const std::vector<std::string_view>& choices);

/// The same, kept in `value`, which holds the default; empty: none.
CLI::Option* define_choice(CLI::App& app, const char* flags, std::string& value,
                           const std::string& description,
                           const std::vector<std::string_view>& choices);

/// A value of an enumeration, by its word; `value` holds the default.
template <Worded E>
CLI::Option* define_choice(CLI::App& app, const char* flags, E& value,
                           const std::string& description) {
  return define_choice(
             app, flags, [&value](const std::string& word) { value = *value_of<E>(word); },
             description, all_words<E>())
      ->default_str(std::string(word_of(value)));
}

/// One that stays empty where the command line does not name it.
template <Worded E>
CLI::Option* define_choice(CLI::App& app, const char* flags, std::optional<E>& value,
                           const std::string& description) {
  return define_choice(
      app, flags, [&value](const std::string& word) { value = value_of<E>(word); }, description,
      all_words<E>());
}

/// Longest text sizes and counts that the flags take: far beyond use.
inline constexpr std::int64_t kMaxCount = std::int64_t{1} << 40;

/// Accepts what reads as a decimal number within [low, high] from its first character to its last.
/// For CLI::Option::transform: CLI11 itself reads a leading 0 as octal, so whole numbers lose it.
template <class Number>
CLI::Validator number_within(Number low, Number high) {
  return {
      [low, high](std::string& word) -> std::string {
        Number value = {};
        const char* const end = word.data() + word.size();
        const auto [stop, error] = std::from_chars(word.data(), end, value);
        const bool whole = error == std::errc() && stop == end;
        if (whole && value >= low && value <= high) {  // NaN is within nothing
          if constexpr (std::integral<Number>) word = fmt::format("{}", value);
          return {};
        }
        if constexpr (std::integral<Number>) {
          const bool beyond = error == std::errc::result_out_of_range || (whole && value > high);
          if (high >= kMaxCount && !beyond) {
            return fmt::format("found '{}', expected a whole number of at least {}", word, low);
          }
          return fmt::format("found '{}', expected a whole number from {} to {}", word, low, high);
        } else {
          return fmt::format("found '{}', expected a number from {:g} to {:g}", word, low, high);
        }
      },
      ""};
}

/// A number within [low, high], its default in the help.
template <class Number>
CLI::Option* define_number(CLI::App& app, const char* flags, Number& value, const char* description,
                           Number low, Number high) {
  return app.add_option(flags, value, description)
      ->transform(number_within(low, high))
      ->type_name("N")
      ->capture_default_str();
}

/// An existing file to read, or a place to write.
CLI::Option* define_path(CLI::App& app, const char* flags, std::string& value,
                         const char* description);

void define_threads(CLI::App& app, int& threads);

/// --seed; -1 stands for one that differs every time: see actual_seed.
CLI::Option* define_seed(CLI::App& app, std::int64_t& seed);
std::uint64_t actual_seed(std::int64_t seed);

/// What a command that runs a model on the runtime needs.
struct RuntimeFlags {
  std::string model;
  int threads = 0;
  std::string device = "cpu";
  runtime::Activations activations = runtime::Activations::kI8;
  runtime::KvType kv = runtime::KvType::kF16;
};

/// --device, of a command that runs on the CPU whatever its MODEL; require_cpu() says so.
CLI::Option* define_device(CLI::App& app, std::string& device);
/// Error{kUnsupported} for another device than the CPU.
void require_cpu(const std::string& device);

/// Error{kInvalidArgument} when writing `out` would overwrite the model or a file of its folder.
void require_other_file(const std::filesystem::path& model, const std::filesystem::path& out);

/// The same for the other files that a command reads; empty names are none.
void require_other_files(std::span<const std::string> inputs, const std::filesystem::path& out);

CLI::Option* define_activations(CLI::App& app, runtime::Activations& activations);

CLI::Option* define_kv_type(CLI::App& app, runtime::KvType& type);

/// --threads, --device, --activations and --kv-type.
void define_runtime(CLI::App& app, RuntimeFlags& flags);

/// What is measured, or compared with: the model without what only its speed is worth, activations,
/// keys and values in f32.
void make_exact(RuntimeFlags& flags);

/// Throws as Model::load; Error{kUnsupported} for a device that is not the CPU.
runtime::Model load_model(const Context& context, const RuntimeFlags& flags);

}  // namespace onebit::cli
