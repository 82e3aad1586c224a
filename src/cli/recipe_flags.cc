#include "cli/recipe_flags.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "distill/mixture.h"
#include "distill/settings.h"
#include "distill/student_method.h"

namespace onebit::cli {
namespace {

/// The word for the type that a new run takes on this CPU, and a resumed one began with.
constexpr std::string_view kAutoType = "auto";

/// Settings of what a teacher teaches …
constexpr std::string_view kOfTeacher[] = {
    "block_steps", "block_segments", "block_batch", "block_lr",    "block_scale_rate",
    "alpha",       "logit_scale",    "logit_term",  "temperature", "logit_reduction",
    "beta",        "gamma",          "hidden_last", "override"};
/// … of methods that begin with a trained model …
constexpr std::string_view kOfTrained[] = {
    "bits",  "act_bits", "kv_bits",      "form",          "group_size", "init",
    "split", "latent",   "latent_scale", "sign_gradient", "scale_rate", "scale_decay"};
/// … of the block-wise stage beside its steps …
constexpr std::string_view kOfBlocks[] = {"block_segments", "block_batch", "block_lr",
                                          "block_scale_rate"};
/// … and of the steps of the whole model.
constexpr std::string_view kOfSteps[] = {
    "alpha", "logit_scale", "logit_term", "logit_reduction", "temperature", "beta",      "gamma",
    "lr",    "hidden_last", "scale_rate", "warmup",          "decay",       "accumulate"};

template <std::size_t n>
bool is_one_of(std::string_view name, const std::string_view (&names)[n]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

/// The words of an enumeration that a run may say.
template <class T>
std::vector<std::string_view> words_of(bool from_scratch) {
  if constexpr (std::is_same_v<T, distill::StudentMethod>) {
    if (from_scratch) {
      return {word_of(distill::StudentMethod::kBitNet),
              word_of(distill::StudentMethod::kBitNet158)};
    }
  }
  return all_words<T>();
}

std::string flag_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

void RecipeFlags::define(CLI::App& app, bool from_scratch) {
  const distill::Recipe base = from_scratch
                                   ? distill::scratch_recipe(distill::StudentMethod::kBitNet158)
                                   : distill::best_recipe();
  for_each_setting(base, [&]<class T>(const distill::Setting& setting, const T& value) {
    const std::string name = setting.name;
    const std::string flag = "--" + flag_of(name);
    if (name == "seed") return;
    // Nothing is said where it follows from others.
    const bool follows = name == "steps" || name == "bits" || (name == "lr" && !from_scratch);
    std::string about = setting.about;
    if (name == "lr" && follows) {
      about += "; of best, 1-bit layers: 0.003 times the root of --steps / 45, at most 0.02";
    }
    if constexpr (std::is_same_v<T, torch::ScalarType>) {
      std::vector<std::string_view> types = all_words<T>();
      types.insert(types.begin(), kAutoType);
      define_choice(
          app, flag.c_str(), [this, name](const std::string& word) { given_[name] = word; },
          about + "; auto: what the device multiplies fastest", types)
          ->default_str(std::string(kAutoType));
    } else if constexpr (std::is_enum_v<T>) {
      define_choice(
          app, flag.c_str(), [this, name](const std::string& word) { given_[name] = word; }, about,
          words_of<T>(from_scratch))
          ->default_str(std::string(word_of(value)));
    } else if constexpr (std::is_same_v<T, std::string>) {
      app.add_option_function<std::vector<std::string>>(
             flag,
             [this, name](const std::vector<std::string>& words) {
               given_[name] = fmt::format("{}", fmt::join(words, ","));
             },
             setting.about)
          ->allow_extra_args(false)
          ->check(parses([](const std::string& word) { distill::Mixture::require_word(word); }))
          ->type_name("PATTERN=METHOD[:BITS]");
    } else if constexpr (std::is_same_v<T, bool>) {
      app.add_flag_callback(
          flag, [this, name] { given_[name] = true; }, about);
      app.add_flag_callback(
          "--no-" + flag_of(name), [this, name] { given_[name] = false; }, "not so");
    } else {
      app.add_option_function<T>(
             flag, [this, name](const T& given) { given_[name] = given; }, about)
          ->transform(number_within(static_cast<T>(setting.low), static_cast<T>(setting.high)))
          ->type_name("N")
          ->default_str(follows ? "" : fmt::format("{}", value));
    }
    if (!from_scratch || !(is_one_of(name, kOfTeacher) || is_one_of(name, kOfTrained))) return;
    app.get_option(flag)->group(kHiddenGroup);
    if constexpr (std::is_same_v<T, bool>) {
      app.get_option("--no-" + flag_of(name))->group(kHiddenGroup);
    }
  });
}

void RecipeFlags::require_no_teacher() const {
  for (const std::string_view name : kOfTeacher) {
    if (!has(name)) continue;
    throw UsageError(
        fmt::format("--{}: found with onebit train, which has no teacher to learn from",
                    flag_of(std::string(name))));
  }
}

std::optional<distill::StudentMethod> RecipeFlags::method() const {
  if (!has("method")) return std::nullopt;
  return value_of<distill::StudentMethod>(given_["method"].get<std::string>());
}

void RecipeFlags::require_of(const distill::Recipe& recipe) const {
  using distill::StudentMethod;
  const auto require = [&](std::initializer_list<const char*> settings,
                           std::initializer_list<StudentMethod> methods) {
    if (std::find(methods.begin(), methods.end(), recipe.method) != methods.end()) return;
    for (const char* setting : settings) {
      if (!has(setting)) continue;
      throw UsageError(fmt::format("--{}: found with --method {}, which has no such setting",
                                   flag_of(setting), word_of(recipe.method)));
    }
  };
  require({"form", "group_size", "init", "split", "latent", "latent_scale", "sign_gradient",
           "scale_rate", "scale_decay", "block_scale_rate"},
          {StudentMethod::kOneBit});
  const auto require_stage = [&](std::span<const std::string_view> settings, bool is_there,
                                 const char* found) {
    for (const std::string_view setting : settings) {
      if (is_there || !has(setting)) continue;
      throw UsageError(fmt::format("--{}: found {}, expected a stage that has it",
                                   flag_of(std::string(setting)), found));
    }
  };
  require_stage(kOfBlocks, recipe.block.steps > 0 || has("block_steps"), "without --block-steps");
  require_stage(kOfSteps, recipe.steps > 0, "with --steps 0");
  require({"bits"}, {StudentMethod::kLlmQat, StudentMethod::kLowRank});
  require({"act_bits", "kv_bits"}, {StudentMethod::kLlmQat});
  const auto require_bits = [&](const char* flag, std::int64_t bits, std::int64_t low, bool exact) {
    if ((bits >= low && bits <= 8) || (exact && bits == arch::ActivationRule::kExact)) return;
    throw UsageError(fmt::format("--{}: found {} with --method {}, expected {} to 8{}", flag, bits,
                                 word_of(recipe.method), low, exact ? ", or 16" : ""));
  };
  if (recipe.method == StudentMethod::kLlmQat) {
    require_bits("bits", recipe.bits, 2, false);
    require_bits("act-bits", recipe.act_bits, 2, true);
    require_bits("kv-bits", recipe.kv_bits, 2, true);
  } else if (recipe.method == StudentMethod::kLowRank) {
    require_bits("bits", recipe.bits, 1, false);
  }
}

distill::Recipe RecipeFlags::applied_to(distill::Recipe recipe) const {
  if (has("init")) {
    choose_init(recipe, *value_of<quant::Init>(given_["init"].get<std::string>()));
  }
  if (has("latent")) {
    const bool sign = given_["latent"] == word_of(nn::LatentStart::kSign);
    recipe.latent_scale = sign ? nn::kLatentScale : 1.0;
  }
  if (has("group_size") && given_["group_size"] > 0 && has("override")) {
    throw UsageError(
        "--group-size: found with --override, expected one of them: groups are of the form "
        "foldable, in which all matrices of a block share scales");
  }
  // Only this form has groups of inputs.
  if (has("group_size") && given_["group_size"] > 0) recipe.form = arch::Form::kFoldable;
  nlohmann::ordered_json settings = distill::to_json(recipe);
  for (const auto& [name, value] : given_.items()) {
    if (value != kAutoType) settings[name] = value;
  }
  recipe = distill::recipe_from_json(settings);
  require_of(recipe);
  require_groups(recipe.form, recipe.group_size);
  if (recipe.loss.hidden_last && recipe.loss.beta == 0) {
    throw UsageError("--hidden-last: found a hidden-state term of weight 0, expected --beta too");
  }
  return recipe;
}

}  // namespace onebit::cli
