// A flag for every setting of a distillation recipe, made from its table (distill/settings.h).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/flags.h"
#include "distill/recipe.h"

namespace onebit::cli {

class RecipeFlags {
 public:
  /// --name for every setting but the seed, which is one of the common flags; the help of a run
  /// `from_scratch` leaves out what only a teacher or a trained model gives. Outlives `app`.
  void define(CLI::App& app, bool from_scratch);

  /// Throws UsageError for a setting of what a teacher teaches.
  void require_no_teacher() const;

  /// Whether the command line names a setting.
  bool has(std::string_view setting) const { return given_.contains(setting); }

  /// Takes a setting as if the command line named it.
  void set(std::string_view setting, std::string value) { given_[setting] = std::move(value); }

  /// The value of a setting that it names.
  std::string text(std::string_view setting) const { return given_.at(setting).get<std::string>(); }

  /// The method that it names, if any.
  std::optional<distill::StudentMethod> method() const;

  /// The recipe with what the command line says. Throws UsageError for settings that contradict
  /// each other.
  distill::Recipe applied_to(distill::Recipe recipe) const;

 private:
  /// Throws UsageError for settings that the recipe's method does not have.
  void require_of(const distill::Recipe& recipe) const;

  nlohmann::ordered_json given_ = nlohmann::ordered_json::object();
};

}  // namespace onebit::cli
