// The one table of a recipe's settings: names, meanings and limits. The command line's flags, the
// JSON of a run and the check of a resumed one are made from it, so a new setting is one line here.
#pragma once

#include "distill/recipe.h"

namespace onebit::distill {

/// What a setting is called and means; for numbers, what it may be.
struct Setting {
  const char* name;   ///< key in JSON; the flag is --name, with dashes
  const char* about;  ///< of the flag's help
  double low = 0;
  double high = 0;
};

/// Largest count, batch and weight that a setting takes: far beyond use.
inline constexpr double kManyTokens = 0x1p40;
inline constexpr double kManySequences = 0x1p20;
inline constexpr double kLargeWeight = 1e6;
/// Of latent weights' start: with 0 their signs were lost.
inline constexpr double kLeastLatentScale = 1e-6;
/// Of a moment; with 1 it would stay 0, and its correction divides by 0.
inline constexpr double kLargestDecay = 0.99999;

/// Calls visit(setting, member) for every member of a Recipe (const or not), in the order in which
/// people read them: doubles, integers, bools, enumerations with words, and lists as strings with
/// commas.
template <class R, class Visit>
void for_each_setting(R& r, Visit&& visit) {
  const auto number = [&](const char* name, auto& member, double low, double high,
                          const char* about) {
    visit(Setting{name, about, low, high}, member);
  };
  const auto word = [&](const char* name, auto& member, const char* about) {
    visit(Setting{name, about}, member);
  };
  word("method", r.method, "what the student's layers are: docs/methods.md");
  number("bits", r.bits, 1, 8,
         "llm-qat: of weights, 2 to 8; lowrank: factors as large as such weights");
  number("act_bits", r.act_bits, 2, 16, "llm-qat: of matrices' inputs, 2 to 8 or 16");
  number("kv_bits", r.kv_bits, 2, 16, "llm-qat: of keys and values, 2 to 8 or 16");
  word("override", r.mixture,
       "matrices that are not trained but as f16, bf16, int8 or rtn has them, or that llm-qat or "
       "lowrank trains at other bits, by patterns of names (repeatable; the first match wins)");
  word("form", r.form,
       "1-bit layers with the paper's LayerNorm on their output; without it and each with input "
       "scales of its own; or with such as fold into the tensors before");
  number(
      "group_size", r.group_size, 0, 128,
      "inputs that share an output scale: 16, 32, 64 or 128, or 0 for a whole row; foldable only");
  word("init", r.svid.init, "how the scales of a matrix start; copy: as 1");
  word("split", r.svid.split, "how input and output scales share their product");
  word("latent", r.latent,
       "latent weights start as 0.01 times the sign, or as weights in units of h gT");
  number("latent_scale", r.latent_scale, kLeastLatentScale, kLargeWeight, "factor of that start");
  word("sign_gradient", r.sign_gradient,
       "straight-through gradient: times 1.001 - tanh(w)^2 (the reference), or as it is");
  word("train_norms", r.train_norms, "train the norms too, which the reference leaves as they are");
  word("train_ends", r.train_ends, "train embedding and head too");

  number("block_steps", r.block.steps, 0, kManyTokens,
         "steps that each block trains alone before the whole does; 0: none");
  number("block_segments", r.block.segments, 1, kManyTokens, "sequences it trains on");
  number("block_batch", r.block.batch, 1, kManySequences, "sequences of such a step");
  number("block_lr", r.block.learning_rate, 0, 1, "its peak learning rate");
  number("block_scale_rate", r.block.scale_rate, 0, kLargeWeight,
         "its rate of g and h as a multiple of --block-lr");

  number("alpha", r.loss.logit.alpha, 0, 1, "weight of the teacher's logits against the labels");
  number("logit_scale", r.loss.logit.scale, 0, kLargeWeight, "factor of the logit term");
  word("logit_term", r.loss.logit.term,
       "divergence from the teacher (the reference), or cross-entropy with it (the paper)");
  word("logit_reduction", r.loss.logit.reduction,
       "its sum is divided by the sequences (the reference) or the tokens");
  number("temperature", r.loss.logit.temperature, 1e-3, 1e3,
         "both models' logits are divided by it, the term multiplied by its square");
  number("beta", r.loss.beta, 0, kLargeWeight, "weight of the hidden-state term");
  number("gamma", r.loss.gamma, 0, kLargeWeight, "weight of the attention term");
  word("hidden_last", r.loss.hidden_last,
       "the hidden-state term also supervises the last block, unlike the reference");

  number("lr", r.learning_rate, 0, 1, "peak learning rate of the latent weights");
  number("scale_rate", r.adam.scale_rate, 0, kLargeWeight, "rate of g and h as a multiple of --lr");
  number("warmup", r.warmup, 0, kManyTokens, "steps of linear warm-up");
  word("decay", r.decay, "of the rate after the warm-up");
  word("optimizer", r.adam.kind, "weight decay beside Adam's step (the reference) or inside it");
  number("weight_decay", r.adam.weight_decay, 0, 1e3, "of everything trained");
  word("scale_decay", r.adam.decay_scales, "weight decay on g and h too, as the reference has it");
  number("adam_beta1", r.adam.beta1, 0, kLargestDecay, "decay of Adam's first moment");
  number("adam_beta2", r.adam.beta2, 0, kLargestDecay, "decay of Adam's second moment");
  number("adam_eps", r.adam.eps, 0, 1, "smallest divisor of Adam's step");
  number("clip", r.adam.max_grad_norm, 0, 1e9, "largest norm of the gradient; 0: any");

  number(
      "steps", r.steps, 0, kManyTokens,
      "optimiser steps of the whole model; 0: --block-steps is all, one block in memory at a time");
  number("batch", r.batch, 1, kManySequences, "sequences of a micro-batch");
  number("accumulate", r.accumulate, 1, kManySequences, "micro-batches of a step");
  number("length", r.length, 2, kManyTokens, "tokens of a sequence");
  word("dtype", r.compute, "type of activations and products");
  visit(Setting{"seed", "of the order of the data", 0, 0x1p63}, r.seed);
}

}  // namespace onebit::distill
