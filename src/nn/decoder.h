// A decoder as libtorch computes it, built from arch::ModelConfig: teacher and student differ only
// in the linear layers they are given.
//
// B sequences, T tokens, D model, L layers, V vocabulary. Embedding and head are frozen unless
// train_ends() is called, the norms unless train_norms() is.
//
// An object may hold some of a model's blocks alone, for work that goes block by block; layers are
// numbered as in the whole model.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <torch/types.h>
#include <utility>
#include <vector>

#include "arch/model_config.h"
#include "nn/linear.h"

namespace onebit::nn {

/// The tensors that stay in full precision, as f32 (f64 in golden runs). Copies share storage, so
/// teacher and student hold one set between them, but for norms that the student trains.
struct FrozenWeights {
  torch::Tensor embedding;               ///< [V, D]
  torch::Tensor head;                    ///< [V, D]; the embedding itself when tied
  torch::Tensor output_norm;             ///< [D]
  std::vector<torch::Tensor> attn_norm;  ///< L × [D], undefined where blocks have no norms
  std::vector<torch::Tensor> ffn_norm;   ///< likewise
};

/// Gives the linear layer of a matrix of the architecture, for each of its layers.
using LinearFactory =
    std::function<std::unique_ptr<Linear>(const arch::TensorSpec& spec, std::int64_t layer)>;

/// What stands between a block's projections and its attention, where a model quantises there. An
/// empty function leaves its tensors as they are; others are differentiable and keep the shape.
struct AttentionHooks {
  using Hook = std::function<torch::Tensor(const torch::Tensor&)>;
  /// Keys before their rotation and values, as a cache would hold them: [B, T, KV_DIM].
  Hook cached;
  /// Queries and keys, both rotated, and values as attention's products read them: [B, heads or
  /// key-value heads, T, head_dim].
  Hook operand;
};

struct ForwardOptions {
  bool keep_states = false;     ///< fill DecoderOutput::states
  bool keep_attention = false;  ///< fill DecoderOutput::attention (slow: whole matrices)
};

struct DecoderOutput {
  /// States 0 … L, each [B, T, D] in the residual's type: state 0 is the embeddings' output, state
  /// i the output of block i, state L that of the last block before the output norm.
  std::vector<torch::Tensor> states;
  std::vector<torch::Tensor> attention;  ///< L × [B, heads, T, T], softmax's output
  torch::Tensor hidden;                  ///< [B, T, D], after the output norm, compute type
};

/// Consecutive layers of a model.
struct LayerRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

class DecoderModel {
 public:
  /// `compute`: f32, f64 or bf16, the type of activations and matrix products. The residual stream,
  /// norms and softmax are f32 for bf16. The frozen weights are f64 if and only if compute is.
  DecoderModel(arch::ModelConfig config, FrozenWeights frozen, torch::ScalarType compute,
               const LinearFactory& linear);

  /// The blocks of `range` alone. `frozen` has the norms of these layers; embedding, head and
  /// output norm may be empty, if nothing that uses them is called.
  DecoderModel(arch::ModelConfig config, FrozenWeights frozen, torch::ScalarType compute,
               const LinearFactory& linear, LayerRange range);

  /// tokens: int64 [B, T], every id within the vocabulary. Needs all blocks.
  DecoderOutput forward(const torch::Tensor& tokens, ForwardOptions options);

  /// One block alone: the residual stream [B, T, D] before block `layer` to the one after it, both
  /// in the residual's type.
  torch::Tensor forward_block(std::int64_t layer, const torch::Tensor& x);

  /// Its halves, forward_ffn(forward_attention(x)) = forward_block(x).
  torch::Tensor forward_attention(std::int64_t layer, const torch::Tensor& x);
  torch::Tensor forward_ffn(std::int64_t layer, const torch::Tensor& x);

  /// Makes the norms' weights trainable: from here on they are copies of this model's own.
  void train_norms();

  /// The same of embedding and head, which are one tensor where they are tied.
  void train_ends();

  /// From here on forward() keeps only what goes into a block for the backward pass, which runs
  /// each block's forward pass again (gradient checkpointing: Chen et al., arXiv 1604.06174), and
  /// signs are formed each time they are needed. Same values and gradients.
  void recompute_blocks() noexcept;

  /// The residual stream before block 0: embeddings of int64 [B, T].
  torch::Tensor embed(const torch::Tensor& tokens) const;

  /// DecoderOutput::hidden of the residual stream after the last block.
  torch::Tensor finish(const torch::Tensor& x) const;

  /// The matrix that turns hidden states into logits, [V, D] in the compute type's product_type()
  /// (fused.h), with a gradient where it is trained. It is applied outside (distill/losses.h), a
  /// few tokens at a time: all logits at once would not fit.
  torch::Tensor head() const;

  const arch::ModelConfig& config() const noexcept { return config_; }
  const FrozenWeights& frozen() const noexcept { return frozen_; }
  torch::ScalarType compute() const noexcept { return compute_; }

  /// The layer of a matrix: `role` must be a linear one. Throws InternalError.
  Linear& linear(arch::Role role, std::int64_t layer) const;

  /// Puts `other` in the place of that layer, which it gives back.
  std::unique_ptr<Linear> exchange(arch::Role role, std::int64_t layer,
                                   std::unique_ptr<Linear> other);

  /// The weight of a block's norm, [D].
  const torch::Tensor& norm(arch::Role role, std::int64_t layer) const;

  /// Puts `weight` in its place, in the residual's type; gradients go to what it was made of.
  void set_norm(arch::Role role, std::int64_t layer, torch::Tensor weight);

  /// From here on all blocks have these.
  void set_attention_hooks(AttentionHooks hooks) { hooks_ = std::move(hooks); }

  /// All trainable tensors, named "blk.3.attn_q.latent" and so on, in the order of the layers;
  /// norms, where they are trained, as "blk.3.attn_norm.weight".
  std::vector<Parameter> parameters() const;
  std::vector<Parameter> block_parameters(std::int64_t layer) const;

 private:
  /// Where a layer's block is among those held. Throws InternalError for others.
  std::size_t index_of(std::int64_t layer) const;
  torch::Tensor normed(const torch::Tensor& x, const torch::Tensor& weight) const;
  /// Appends the attention weights to `attention` unless it is null.
  torch::Tensor attend(std::int64_t layer, const torch::Tensor& x,
                       std::vector<torch::Tensor>* attention);
  torch::Tensor attention_half(std::int64_t layer, const torch::Tensor& x,
                               std::vector<torch::Tensor>* attention);
  torch::Tensor block(std::int64_t layer, const torch::Tensor& x,
                      std::vector<torch::Tensor>* attention);
  struct Recompute;
  torch::Tensor recomputed_block(std::int64_t layer, const torch::Tensor& x,
                                 std::vector<torch::Tensor>* attention);
  void extend_rotary(std::int64_t length);

  arch::ModelConfig config_;
  FrozenWeights frozen_;
  AttentionHooks hooks_;
  torch::ScalarType compute_;
  bool trains_norms_ = false;
  bool trains_ends_ = false;
  bool recomputes_ = false;
  torch::Tensor head_;
  std::int64_t first_layer_;
  std::vector<std::map<arch::Role, std::unique_ptr<Linear>>> blocks_;
  torch::Tensor turn_;  ///< rotary()'s, [longest T so far, heads, head_dim/2]
};

}  // namespace onebit::nn
