#include "distill/recipe.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

#include "base/error.h"
#include "distill/settings.h"
#include "nn/fused.h"

namespace onebit::distill {

Recipe paper_recipe() {
  Recipe recipe{};
  recipe.form = arch::Form::kPaper;
  recipe.latent = nn::LatentStart::kSign;
  recipe.latent_scale = nn::kLatentScale;
  recipe.sign_gradient = nn::SignGradient::kTanh;
  recipe.learning_rate = 4e-4;
  recipe.warmup = 500;
  recipe.decay = Decay::kCosine;
  recipe.batch = 4;
  recipe.length = 2048;
  return recipe;
}

Recipe best_recipe() {
  Recipe recipe{};
  recipe.form = arch::Form::kFree;
  recipe.latent = nn::LatentStart::kLevels;
  recipe.latent_scale = 1.0;
  recipe.sign_gradient = nn::SignGradient::kIdentity;
  recipe.block.steps = 48;
  recipe.loss.logit.scale = 1.0;
  recipe.loss.logit.reduction = LogitReduction::kPerToken;
  recipe.loss.beta = 0;
  recipe.adam.weight_decay = 0;
  recipe.adam.scale_rate = 0.6;
  recipe.learning_rate = best_learning_rate(45);
  recipe.warmup = 5;
  recipe.decay = Decay::kCosine;
  recipe.batch = 4;
  recipe.length = 256;
  return recipe;
}

double best_learning_rate(std::int64_t steps) {
  return std::min(2e-2, 3e-3 * std::sqrt(static_cast<double>(steps) / 45));
}

void choose_init(Recipe& recipe, quant::Init init) {
  recipe.svid.init = init;
  if (init != quant::Init::kCopy) return;
  recipe.latent = nn::LatentStart::kLevels;
  recipe.latent_scale = 1.0;
}

Recipe recipe_by_name(std::string_view name) {
  if (name == "paper") return paper_recipe();
  if (name == "best") return best_recipe();
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("recipe: found '{}', expected paper or best", name));
}

torch::ScalarType fastest_compute(torch::Device device) {
  if (!device.is_cpu()) return torch::kBFloat16;
  return nn::has_bf16_tiles() ? torch::kBFloat16 : torch::kFloat32;
}

nlohmann::ordered_json to_json(const Recipe& recipe) {
  nlohmann::ordered_json object;
  for_each_setting(recipe, [&]<class T>(const Setting& setting, const T& value) {
    if constexpr (std::is_enum_v<T>) {
      object[setting.name] = word_of(value);
    } else {
      object[setting.name] = value;
    }
  });
  return object;
}

Recipe recipe_from_json(const nlohmann::ordered_json& object) {
  Recipe recipe{};
  const auto fail = [](const char* key, const std::string& found) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("recipe: {}: found {}, expected a setting of a run", key, found));
  };
  for_each_setting(recipe, [&]<class T>(const Setting& setting, T& value) {
    const char* key = setting.name;
    const auto found = object.find(key);
    if (found == object.end()) fail(key, "none");
    if constexpr (std::is_same_v<T, std::string>) {
      if (!found->is_string()) fail(key, found->dump());
      value = found->template get<std::string>();
    } else if constexpr (std::is_enum_v<T>) {
      const auto named = found->is_string()
                             ? value_of<T>(found->template get_ref<const std::string&>())
                             : std::nullopt;
      if (!named) fail(key, found->dump());
      value = *named;
    } else {
      if (std::is_same_v<T, bool> ? !found->is_boolean() : !found->is_number()) {
        fail(key, found->dump());
      }
      value = found->template get<T>();
    }
  });
  return recipe;
}

}  // namespace onebit::distill
