#include "nn/decoder.h"

#include <cmath>
#include <limits>
#include <torch/autograd.h>
#include <torch/utils.h>
#include <utility>

#include "arch/arch_spec.h"
#include "base/check.h"
#include "nn/fused.h"

namespace onebit::nn {

using arch::Role;
using arch::TensorSpec;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Runs a block without recording it, and once more, recorded, when its gradient is wanted. The
/// block's parameters get their gradients from that inner backward pass directly.
struct DecoderModel::Recompute : torch::autograd::Function<Recompute> {
  /// `anchor` requires a gradient, so that the result does even where x does not. Gives the
  /// residual stream after the block, and the attention weights if asked for.
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& /*anchor*/,
                               DecoderModel* model, std::int64_t layer, bool keep_attention) {
    ctx->save_for_backward({x});
    ctx->saved_data["model"] = reinterpret_cast<std::int64_t>(model);  // outlives the graph
    ctx->saved_data["layer"] = layer;
    ctx->saved_data["keep_attention"] = keep_attention;
    return run(*model, layer, keep_attention, x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::AutoGradMode enabled(true);
    const Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_();
    auto& model = *reinterpret_cast<DecoderModel*>(ctx->saved_data["model"].toInt());
    const variable_list outputs =
        run(model, ctx->saved_data["layer"].toInt(), ctx->saved_data["keep_attention"].toBool(), x);
    variable_list used;
    variable_list used_grads;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined()) continue;
      used.push_back(outputs[i]);
      used_grads.push_back(grads[i]);
    }
    torch::autograd::backward(used, used_grads);
    return {x.grad(), {}, {}, {}, {}};
  }

  static variable_list run(DecoderModel& model, std::int64_t layer, bool keep_attention,
                           const Tensor& x) {
    std::vector<Tensor> attention;
    variable_list outputs = {model.block(layer, x, keep_attention ? &attention : nullptr)};
    outputs.insert(outputs.end(), attention.begin(), attention.end());
    return outputs;
  }
};

DecoderModel::DecoderModel(arch::ModelConfig config, FrozenWeights frozen,
                           torch::ScalarType compute, const LinearFactory& linear)
    : DecoderModel(config, std::move(frozen), compute, linear, {0, config.layers}) {}

DecoderModel::DecoderModel(arch::ModelConfig config, FrozenWeights frozen,
                           torch::ScalarType compute, const LinearFactory& linear, LayerRange range)
    : config_(std::move(config)),
      frozen_(std::move(frozen)),
      compute_(compute),
      first_layer_(range.first) {
  ONEBIT_CHECK(compute == torch::kFloat32 || compute == torch::kFloat64 ||
               compute == torch::kBFloat16);
  ONEBIT_CHECK((frozen_.embedding.scalar_type() == torch::kFloat64) ==
               (compute == torch::kFloat64));
  ONEBIT_CHECK(range.first >= 0 && range.count >= 0 && range.first + range.count <= config_.layers);
  ONEBIT_CHECK(std::ssize(frozen_.attn_norm) == range.count &&
               std::ssize(frozen_.ffn_norm) == range.count);
  // The file's q and k rows are laid out as GGUF's; an architecture with the other layout needs its
  // own rotation here.
  ONEBIT_CHECK(config_.arch->gguf_rope == arch::RopePairs::kNeighbours);
  head_ = frozen_.head.to(product_type(compute, frozen_.head.device()));
  blocks_.resize(static_cast<std::size_t>(range.count));
  for (std::int64_t layer = range.first; layer < range.first + range.count; ++layer) {
    for (const arch::TensorSpec& spec : config_.arch->tensors) {
      if (!spec.linear) continue;
      std::unique_ptr<Linear> built = linear(spec, layer);
      ONEBIT_CHECK(built != nullptr);
      blocks_[index_of(layer)].emplace(spec.role, std::move(built));
    }
  }
}

std::size_t DecoderModel::index_of(std::int64_t layer) const {
  const std::int64_t index = layer - first_layer_;
  ONEBIT_CHECK(index >= 0 && index < std::ssize(blocks_));
  return static_cast<std::size_t>(index);
}

Linear& DecoderModel::linear(Role role, std::int64_t layer) const {
  const auto& block = blocks_[index_of(layer)];
  const auto found = block.find(role);
  ONEBIT_CHECK(found != block.end());
  return *found->second;
}

std::unique_ptr<Linear> DecoderModel::exchange(Role role, std::int64_t layer,
                                               std::unique_ptr<Linear> other) {
  ONEBIT_CHECK(other != nullptr);
  auto& block = blocks_[index_of(layer)];
  const auto found = block.find(role);
  ONEBIT_CHECK(found != block.end());
  found->second.swap(other);
  return other;
}

const Tensor& DecoderModel::norm(Role role, std::int64_t layer) const {
  ONEBIT_CHECK(role == Role::kAttnNorm || role == Role::kFfnNorm);
  return (role == Role::kAttnNorm ? frozen_.attn_norm : frozen_.ffn_norm)[index_of(layer)];
}

void DecoderModel::set_norm(Role role, std::int64_t layer, Tensor weight) {
  const Tensor& old = norm(role, layer);
  ONEBIT_CHECK(weight.sizes() == old.sizes() && weight.scalar_type() == old.scalar_type());
  auto& norms = role == Role::kAttnNorm ? frozen_.attn_norm : frozen_.ffn_norm;
  norms[index_of(layer)] = std::move(weight);
}

namespace {

void add_norm(const std::string& name, const Tensor& weight, std::vector<Parameter>& out) {
  if (weight.defined()) out.push_back({name + ".weight", weight, ParameterKind::kNorm});
}

}  // namespace

std::vector<Parameter> DecoderModel::block_parameters(std::int64_t layer) const {
  std::vector<Parameter> result;
  const std::size_t index = index_of(layer);
  for (const arch::TensorSpec& spec : config_.arch->tensors) {
    if (!spec.per_layer) continue;
    const std::string name = arch::gguf_name(spec, layer);
    if (spec.linear) linear(spec.role, layer).collect(name, result);
    if (!trains_norms_) continue;
    if (spec.role == Role::kAttnNorm) add_norm(name, frozen_.attn_norm[index], result);
    if (spec.role == Role::kFfnNorm) add_norm(name, frozen_.ffn_norm[index], result);
  }
  return result;
}

std::vector<Parameter> DecoderModel::parameters() const {
  std::vector<Parameter> result;
  const auto add_end = [&](Role role, const Tensor& weight) {
    const TensorSpec& spec = *arch::find_tensor(*config_.arch, role);
    result.push_back({arch::gguf_name(spec, -1) + ".weight", weight, ParameterKind::kLatent});
  };
  if (trains_ends_) {
    add_end(Role::kTokenEmbedding, frozen_.embedding);
    if (!config_.tied_head) add_end(Role::kOutput, frozen_.head);
  }
  for (std::int64_t i = 0; i < std::ssize(blocks_); ++i) {
    const std::vector<Parameter> block = block_parameters(first_layer_ + i);
    result.insert(result.end(), block.begin(), block.end());
  }
  if (trains_norms_ && frozen_.output_norm.defined()) {
    const arch::TensorSpec& spec = *arch::find_tensor(*config_.arch, Role::kOutputNorm);
    add_norm(arch::gguf_name(spec, -1), frozen_.output_norm, result);
  }
  return result;
}

void DecoderModel::recompute_blocks() noexcept {
  recomputes_ = true;
  for (auto& block : blocks_) {
    for (auto& [role, linear] : block) linear->save_memory();
  }
}

void DecoderModel::train_norms() {
  trains_norms_ = true;
  const auto own = [](Tensor& weight) {
    if (weight.defined()) weight = weight.detach().clone().requires_grad_();
  };
  own(frozen_.output_norm);
  for (Tensor& weight : frozen_.attn_norm) own(weight);
  for (Tensor& weight : frozen_.ffn_norm) own(weight);
}

void DecoderModel::train_ends() {
  trains_ends_ = true;
  frozen_.embedding = frozen_.embedding.detach().clone().requires_grad_();
  frozen_.head =
      config_.tied_head ? frozen_.embedding : frozen_.head.detach().clone().requires_grad_();
  head_.reset();
}

Tensor DecoderModel::head() const {
  return trains_ends_ ? frozen_.head.to(product_type(compute_, frozen_.head.device())) : head_;
}

// Angles are position · frequency, formed in the residual's type from f32 frequencies, as
// transformers does.
void DecoderModel::extend_rotary(std::int64_t length) {
  if (turn_.defined() && turn_.size(0) >= length) return;
  const torch::ScalarType type = frozen_.embedding.scalar_type();
  const std::vector<float> frequencies = arch::rope_frequencies(config_);
  const Tensor frequency =
      torch::tensor(at::ArrayRef<float>(frequencies.data(), frequencies.size())).to(type);
  const Tensor angle = torch::outer(torch::arange(length).to(type), frequency);
  // The same for every head, but spread over them: a product of two plain arrays is faster.
  turn_ = torch::polar(torch::ones_like(angle), angle)
              .unsqueeze(1)
              .expand({-1, config_.heads, -1})
              .contiguous()
              .to(frozen_.embedding.device());
}

Tensor DecoderModel::attend(std::int64_t layer, const Tensor& x, std::vector<Tensor>* attention) {
  const std::int64_t length = x.size(1);
  const Tensor turn = turn_.narrow(0, 0, length);
  const auto heads = [&](const Tensor& rows) { return rows.unflatten(-1, {-1, config_.head_dim}); };
  const auto through = [](const AttentionHooks::Hook& hook, Tensor t) {
    return hook ? hook(t) : t;
  };
  const auto cached = [&](Role role) {
    return heads(through(hooks_.cached, linear(role, layer).forward(x)));
  };
  // [B, heads, T, head_dim]
  const Tensor q = through(
      hooks_.operand, rotary(heads(linear(Role::kAttnQ, layer).forward(x)), turn).transpose(1, 2));
  Tensor k =
      through(hooks_.operand,
              rotary(cached(Role::kAttnK), turn.narrow(1, 0, config_.kv_heads)).transpose(1, 2));
  Tensor v = through(hooks_.operand, cached(Role::kAttnV).transpose(1, 2));
  const std::int64_t group = config_.heads / config_.kv_heads;
  if (group > 1) {
    k = k.repeat_interleave(group, 1);
    v = v.repeat_interleave(group, 1);
  }
  Tensor mixed;
  if (attention != nullptr) {
    const double scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
    const Tensor future =
        torch::ones({length, length}, x.options().dtype(torch::kBool)).triu(/*diagonal=*/1);
    const Tensor scores =
        torch::matmul(q, k.transpose(2, 3)).to(frozen_.embedding.scalar_type()) * scale;
    const Tensor weights =
        torch::softmax(scores.masked_fill(future, -std::numeric_limits<double>::infinity()), -1);
    attention->push_back(weights);
    mixed = torch::matmul(weights.to(v.scalar_type()), v);
  } else {
    mixed = torch::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/true);
  }
  return linear(Role::kAttnOut, layer).forward(mixed.transpose(1, 2).flatten(2));
}

Tensor DecoderModel::normed(const Tensor& x, const Tensor& weight) const {
  return weight.defined() ? rms_norm(x, weight, config_.norm_eps, compute_) : x.to(compute_);
}

Tensor DecoderModel::attention_half(std::int64_t layer, const Tensor& x,
                                    std::vector<Tensor>* attention) {
  return x + attend(layer, normed(x, frozen_.attn_norm[index_of(layer)]), attention);
}

Tensor DecoderModel::forward_ffn(std::int64_t layer, const Tensor& x) {
  const Tensor n = normed(x, frozen_.ffn_norm[index_of(layer)]);
  const Tensor gate = linear(Role::kFfnGate, layer).forward(n);
  const Tensor inner = swiglu(gate, linear(Role::kFfnUp, layer).forward(n));
  return x + linear(Role::kFfnDown, layer).forward(inner);
}

Tensor DecoderModel::block(std::int64_t layer, const Tensor& x, std::vector<Tensor>* attention) {
  return forward_ffn(layer, attention_half(layer, x, attention));
}

Tensor DecoderModel::recomputed_block(std::int64_t layer, const Tensor& x,
                                      std::vector<Tensor>* attention) {
  const Tensor anchor = torch::empty({0}, x.options()).detach().requires_grad_();
  const variable_list outputs = Recompute::apply(x, anchor, this, layer, attention != nullptr);
  if (attention != nullptr) attention->push_back(outputs.at(1));
  return outputs[0];
}

Tensor DecoderModel::embed(const Tensor& tokens) const {
  ONEBIT_CHECK(tokens.dim() == 2 && tokens.scalar_type() == torch::kInt64);
  return torch::embedding(frozen_.embedding, tokens);
}

Tensor DecoderModel::forward_block(std::int64_t layer, const Tensor& x) {
  ONEBIT_CHECK(x.dim() == 3);
  extend_rotary(x.size(1));
  return block(layer, x, nullptr);
}

Tensor DecoderModel::forward_attention(std::int64_t layer, const Tensor& x) {
  ONEBIT_CHECK(x.dim() == 3);
  extend_rotary(x.size(1));
  return attention_half(layer, x, nullptr);
}

Tensor DecoderModel::finish(const Tensor& x) const { return normed(x, frozen_.output_norm); }

DecoderOutput DecoderModel::forward(const Tensor& tokens, ForwardOptions options) {
  ONEBIT_CHECK(std::ssize(blocks_) == config_.layers);
  DecoderOutput output;
  Tensor x = embed(tokens);
  extend_rotary(tokens.size(1));
  const bool recompute = recomputes_ && torch::GradMode::is_enabled();
  for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
    if (options.keep_states) output.states.push_back(x);
    std::vector<Tensor>* attention = options.keep_attention ? &output.attention : nullptr;
    x = recompute ? recomputed_block(layer, x, attention) : block(layer, x, attention);
  }
  if (options.keep_states) output.states.push_back(x);
  output.hidden = finish(x);
  return output;
}

}  // namespace onebit::nn
