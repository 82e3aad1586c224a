#include "distill/recipe.h"

#include <ATen/cpu/Utils.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace onebit::distill {
namespace {

std::string_view name_of(quant::Init init) {
  switch (init) {
    case quant::Init::kNmf:
      return "nmf";
    case quant::Init::kSvd:
      return "svd";
    case quant::Init::kCopy:
      break;
  }
  return "copy";
}

std::string_view name_of(quant::Split split) {
  switch (split) {
    case quant::Split::kBalanced:
      return "balanced";
    case quant::Split::kRms:
      return "rms";
    case quant::Split::kIn:
      return "in";
    case quant::Split::kOut:
      break;
  }
  return "out";
}

std::string_view name_of(Decay decay) {
  switch (decay) {
    case Decay::kCosine:
      return "cosine";
    case Decay::kLinear:
      return "linear";
    case Decay::kConstant:
      break;
  }
  return "constant";
}

}  // namespace

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
  recipe.form = arch::Form::kFoldable;
  recipe.latent = nn::LatentStart::kLevels;
  recipe.latent_scale = 1.0;
  recipe.sign_gradient = nn::SignGradient::kIdentity;
  recipe.block.steps = 24;
  recipe.loss.logit.scale = 1.0;
  recipe.loss.logit.reduction = LogitReduction::kPerToken;
  recipe.loss.beta = 0;
  recipe.adam.weight_decay = 0;
  recipe.adam.scale_rate = 0.1;
  recipe.learning_rate = 1e-2;
  recipe.warmup = 5;
  recipe.decay = Decay::kCosine;
  recipe.batch = 4;
  recipe.length = 256;
  return recipe;
}

Recipe recipe_by_name(std::string_view name) {
  if (name == "paper") return paper_recipe();
  if (name == "best") return best_recipe();
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("recipe: found '{}', expected paper or best", name));
}

torch::ScalarType fastest_compute() {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto tiles = capabilities.find("amx_bf16");
  return tiles != capabilities.end() && tiles->second.toBool() ? torch::kBFloat16 : torch::kFloat32;
}

nlohmann::ordered_json to_json(const Recipe& r) {
  return {{"form", r.form == arch::Form::kPaper ? "paper" : "foldable"},
          {"init", name_of(r.svid.init)},
          {"split", name_of(r.svid.split)},
          {"latent", r.latent == nn::LatentStart::kSign ? "sign" : "levels"},
          {"latent_scale", r.latent_scale},
          {"sign_gradient", r.sign_gradient == nn::SignGradient::kTanh ? "tanh" : "identity"},
          {"block_steps", r.block.steps},
          {"block_segments", r.block.segments},
          {"block_batch", r.block.batch},
          {"block_lr", r.block.learning_rate},
          {"alpha", r.loss.logit.alpha},
          {"logit_scale", r.loss.logit.scale},
          {"logit_reduction",
           r.loss.logit.reduction == LogitReduction::kPerToken ? "token" : "sequence"},
          {"beta", r.loss.beta},
          {"gamma", r.loss.gamma},
          {"hidden_last", r.loss.hidden_last},
          {"adam_beta1", r.adam.beta1},
          {"adam_beta2", r.adam.beta2},
          {"adam_eps", r.adam.eps},
          {"weight_decay", r.adam.weight_decay},
          {"max_grad_norm", r.adam.max_grad_norm},
          {"scale_rate", r.adam.scale_rate},
          {"lr", r.learning_rate},
          {"warmup", r.warmup},
          {"decay", name_of(r.decay)},
          {"steps", r.steps},
          {"batch", r.batch},
          {"accumulate", r.accumulate},
          {"length", r.length},
          {"dtype", r.compute == torch::kBFloat16 ? "bf16" : "f32"},
          {"seed", r.seed}};
}

}  // namespace onebit::distill
