#include "distill/student_method.h"

#include "base/check.h"
#include "distill/mixture.h"
#include "formats/dequantize.h"
#include "nn/low_rank_linear.h"
#include "quant/low_rank_solver.h"

namespace onebit::distill {

void choose_method(Recipe& recipe, StudentMethod method) {
  recipe.method = method;
  if (method == StudentMethod::kOneBit) return;
  // Block by block fits g and h, which other layers do not have.
  recipe.block.steps = 0;
  // Rates are those of weights of a model's size, not of latent weights in units of their level.
  recipe.adam.scale_rate = 1;
  switch (method) {
    case StudentMethod::kLlmQat:
      // arXiv 2305.17888: the teacher's distribution alone; everything is trained.
      recipe.loss.beta = 0;
      recipe.loss.logit.term = LogitTerm::kCrossEntropy;
      recipe.adam.weight_decay = 0;
      recipe.adam.beta2 = 0.999;
      recipe.learning_rate = 2e-5;
      recipe.warmup = 0;
      recipe.decay = Decay::kCosine;
      recipe.train_norms = true;
      recipe.train_ends = true;
      break;
    case StudentMethod::kBitNet:
    case StudentMethod::kBitNet158:
      // arXiv 2310.11453 and 2402.17764 begin from nothing; for a trained model its own rates are
      // too large.
      recipe.adam.beta2 = method == StudentMethod::kBitNet ? 0.98 : 0.95;
      recipe.learning_rate = 1e-3;
      recipe.train_norms = true;
      recipe.train_ends = true;
      break;
    default:
      recipe.learning_rate = 3e-4;
      break;
  }
}

Recipe scratch_recipe(StudentMethod method) {
  Recipe recipe = best_recipe();
  choose_method(recipe, method);
  recipe.loss.logit.alpha = 0;
  recipe.loss.beta = 0;
  recipe.adam.max_grad_norm = 1;
  recipe.adam.weight_decay = method == StudentMethod::kBitNet ? 0.01 : 0.1;
  recipe.learning_rate = method == StudentMethod::kBitNet ? 2.4e-3 : 1.5e-3;
  recipe.warmup = 50;
  recipe.decay = Decay::kLinear;
  return recipe;
}

arch::ActivationRule activation_rule(const Recipe& recipe) {
  arch::ActivationRule rule;
  switch (recipe.method) {
    case StudentMethod::kLlmQat:
      rule.bits = static_cast<int>(recipe.act_bits);
      rule.kv_bits = static_cast<int>(recipe.kv_bits);
      break;
    case StudentMethod::kBitNet:
    case StudentMethod::kBitNet158:
      rule.norm =
          recipe.method == StudentMethod::kBitNet ? arch::InputNorm::kLayer : arch::InputNorm::kRms;
      rule.bits = 8;
      break;
    default:
      break;
  }
  return rule;
}

nn::RoundedOptions rounded_options(const Recipe& recipe, double norm_eps) {
  nn::RoundedOptions options;
  options.bits = static_cast<int>(recipe.bits);
  options.inputs = activation_rule(recipe);
  options.norm_eps = norm_eps;
  if (recipe.method == StudentMethod::kBitNet) options.weights = nn::WeightRounding::kSign;
  if (recipe.method == StudentMethod::kBitNet158) options.weights = nn::WeightRounding::kTernary;
  return options;
}

namespace {

arch::Storage storage_of(const Recipe& recipe, const formats::Shape& shape) {
  switch (recipe.method) {
    case StudentMethod::kOneBit:
      return arch::OneBitStorage{};
    case StudentMethod::kLowRank:
      return arch::LowRankSpec{
          .rank = quant::rank_for(static_cast<int>(recipe.bits), shape[0], shape[1])};
    default:
      return nn::storage_of(rounded_options(recipe, 0));
  }
}

}  // namespace

void set_storage(const Recipe& recipe, const arch::Checkpoint& teacher,
                 arch::PackOptions& options) {
  const bool is_ours = recipe.method == StudentMethod::kOneBit;
  // BitNet's sign matrices have no scales of inputs: what a file calls foldable.
  Recipe own = recipe;
  own.kept_scales = options.scales;
  const Mixture mixture(own, teacher);
  options.provenance = arch::provenance_of(teacher, mixture.method_names(),
                                           is_ours ? recipe.form : arch::Form::kFoldable,
                                           is_ours ? recipe.group_size : 0);
  options.provenance.activations = activation_rule(recipe);
  const arch::ModelConfig& config = teacher.config();
  for (const arch::TensorId& id : arch::tensor_ids(config)) {
    const arch::TensorSpec& spec = *arch::find_tensor(*config.arch, id.role);
    if (!spec.linear) continue;
    const formats::Shape shape = arch::shape_of(config, spec);
    if (!mixture.keeps(id)) {
      options.set(id, storage_of(mixture.recipe_of(id), shape));
      continue;
    }
    const arch::Storage storage = mixture.storage(id, shape);
    options.set(id, storage);
    if (std::holds_alternative<arch::CodeSpec>(storage) &&
        options.provenance.activations.changes_inputs()) {
      options.provenance.exact_inputs.push_back(arch::gguf_name(spec, id.layer));
    }
  }
}

std::unique_ptr<nn::Linear> start_layer(const Recipe& recipe, double norm_eps,
                                        const torch::Tensor& w) {
  ONEBIT_CHECK(recipe.method != StudentMethod::kOneBit);
  const torch::ScalarType type = nn::master_type(recipe.compute);
  if (recipe.method != StudentMethod::kLowRank) {
    return std::make_unique<nn::RoundedLinear>(w.to(type), rounded_options(recipe, norm_eps));
  }
  const std::int64_t rank = quant::rank_for(static_cast<int>(recipe.bits), w.size(0), w.size(1));
  // As OneBit's layers have it: the start that costs nothing, where saved values fill it in.
  const quant::LowRankFactors factors =
      recipe.svid.init == quant::Init::kCopy
          ? quant::LowRankFactors{torch::zeros({w.size(0), rank}), torch::zeros({rank, w.size(1)})}
          : quant::low_rank(w, rank);
  return std::make_unique<nn::LowRankLinear>(factors.a.to(w.device(), type),
                                             factors.b.to(w.device(), type));
}

std::unique_ptr<nn::Linear> packed_layer(const Recipe& recipe, const arch::Checkpoint& packed,
                                         arch::Role role, std::int64_t layer,
                                         torch::Device device) {
  const std::optional<arch::LowRankMatrix> factors = packed.low_rank(role, layer);
  ONEBIT_CHECK(recipe.method == StudentMethod::kLowRank && factors.has_value());
  const auto read = [&](const formats::TensorView& view) {
    torch::Tensor values = torch::empty(view.shape);
    formats::dequantize(
        view.dtype, view.data,
        {values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
    return values.to(device, nn::master_type(recipe.compute));
  };
  return std::make_unique<nn::LowRankLinear>(read(factors->out_factor), read(factors->in_factor));
}

}  // namespace onebit::distill
