// Everything that decides what a distillation run computes, in one value: two runs with the same
// recipe, teacher and data are the same run. A checkpoint carries it, so that a resumed run can
// tell whether it is still the same.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <torch/types.h>

#include "arch/checkpoint.h"
#include "base/words.h"
#include "distill/block_stage.h"
#include "distill/distiller.h"
#include "distill/schedule.h"
#include "nn/load.h"
#include "quant/svid.h"

namespace onebit::distill {

/// What the student's layers are. kOneBit: nn::OneBitLinear; the others are student_method.h's.
enum class StudentMethod : std::uint8_t { kOneBit, kLlmQat, kBitNet, kBitNet158, kLowRank };

/// Members that have no default here are set by both recipes below.
struct Recipe {
  StudentMethod method = StudentMethod::kOneBit;
  std::int64_t bits = 4;      ///< kLlmQat: of weights; kLowRank: whose bytes the factors take
  std::int64_t act_bits = 8;  ///< kLlmQat: of matrices' inputs; 16: exact
  std::int64_t kv_bits = 4;   ///< kLlmQat: of keys and values; 16: exact

  /// "PATTERN=METHOD[:BITS],…": matrices that are not trained, or at other bits (mixture.h)
  std::string mixture;

  /// The stored scales' of matrices that are not trained. No setting: it is the file's.
  formats::DType kept_scales = formats::DType::kF16;

  // The student's start.
  arch::Form form;
  std::int64_t group_size = 0;  ///< of arch::kGroupSizes; the form kFoldable only
  quant::SvidOptions svid;
  nn::LatentStart latent;
  double latent_scale;
  nn::SignGradient sign_gradient;
  bool train_norms =
      false;  ///< train the RMSNorm weights too; the reference leaves them as they are

  bool train_ends = false;  ///< train embedding and head too

  BlockStageOptions block;  ///< before the end-to-end steps

  // What is minimised, and how.
  LossOptions loss;
  AdamOptions adam;
  double learning_rate;
  std::int64_t warmup;
  Decay decay;

  // How much of what.
  std::int64_t steps = 1;                        ///< optimiser steps
  std::int64_t batch;                            ///< sequences of a micro-batch
  std::int64_t accumulate = 1;                   ///< micro-batches of a step
  std::int64_t length;                           ///< tokens of a sequence
  torch::ScalarType compute = torch::kBFloat16;  ///< bf16 or f32
  std::uint64_t seed = 0;                        ///< of the order of the segments

  nn::OneBitOptions one_bit() const { return {form, sign_gradient, group_size}; }
  std::int64_t sequences_per_step() const { return batch * accumulate; }
  Schedule schedule() const { return {learning_rate, warmup, steps, decay}; }
};

/// The reference implementation's choices (OneBit, arXiv 2402.11295, section 4.1 and its code),
/// except for length and batch, which there fill eight GPUs.
Recipe paper_recipe();

/// What gave the lowest held-out divergence for the time of a short run; docs/recipe.md
/// says how it was found. Its rate is that of a run of 45 steps: best_learning_rate().
Recipe best_recipe();

/// The peak rate of best_recipe() for a number of steps: 3e-3 · √(steps / 45), at most 2e-2. Longer
/// runs have the time to settle what larger rates stir up (docs/recipe.md).
double best_learning_rate(std::int64_t steps);

/// How the scales start; `copy` also makes the latent weights start as W itself, with g = h = 1.
void choose_init(Recipe& recipe, quant::Init init);

/// "paper" or "best"; Error{kInvalidArgument} naming them.
Recipe recipe_by_name(std::string_view name);

/// The type that a device trains fastest in: bf16 on GPUs and where this CPU has tiles for it
/// (AMX), else f32.
torch::ScalarType fastest_compute(torch::Device device);

/// One flat object, every member named as its command line flag where there is one.
nlohmann::ordered_json to_json(const Recipe& recipe);

/// The other way round; Error{kCorrupt} naming the member that is absent or none of its values.
Recipe recipe_from_json(const nlohmann::ordered_json& object);

}  // namespace onebit::distill

namespace onebit {

template <>
struct Words<distill::StudentMethod> {
  static constexpr Word<distill::StudentMethod> kAll[] = {
      {distill::StudentMethod::kOneBit, "onebit"},
      {distill::StudentMethod::kLlmQat, "llm-qat"},
      {distill::StudentMethod::kBitNet, "bitnet"},
      {distill::StudentMethod::kBitNet158, "bitnet158"},
      {distill::StudentMethod::kLowRank, "lowrank"}};
};

/// The types that a run computes in.
template <>
struct Words<torch::ScalarType> {
  static constexpr Word<torch::ScalarType> kAll[] = {{torch::kBFloat16, "bf16"},
                                                     {torch::kFloat32, "f32"}};
};

}  // namespace onebit
