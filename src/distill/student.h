// A student's start: signs, scales and latent weights of the teacher's matrices, as a recipe says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "arch/checkpoint.h"
#include "base/thread_pool.h"
#include "distill/recipe.h"
#include "nn/load.h"

namespace onebit::distill {

/// Called before each matrix; may throw, which ends the start.
using StartProgress = std::function<void(const arch::TensorSpec& spec, std::int64_t layer)>;

/// The student that `recipe` starts from, where `frozen` is, which it shares with the teacher.
/// Throws as quant::svid_group().
std::unique_ptr<nn::DecoderModel> start_student(const arch::Checkpoint& teacher,
                                                const nn::FrozenWeights& frozen,
                                                const Recipe& recipe, ThreadPool& pool,
                                                const StartProgress& progress);

/// The blocks of `range` alone.
std::unique_ptr<nn::DecoderModel> start_student(const arch::Checkpoint& teacher,
                                                const nn::FrozenWeights& frozen,
                                                const Recipe& recipe, ThreadPool& pool,
                                                const StartProgress& progress,
                                                nn::LayerRange range);

/// The same from a packed student of the same teacher and form: its signs and scales. In the form
/// kFoldable what was folded into a norm is taken out again, so that the norms are the teacher's;
/// what was folded into h stays there. Norms, embedding and head are its own where they are trained
/// again; where not, require_untrained() holds. Every matrix that is not kept must be as
/// require_start() (trainer.h) wants it. Without layers: its ends alone, where `frozen` has them.
std::unique_ptr<nn::DecoderModel> packed_student(const arch::Checkpoint& teacher,
                                                 const arch::Checkpoint& packed,
                                                 const nn::FrozenWeights& frozen,
                                                 const Recipe& recipe, nn::LayerRange range);

/// That `packed` has norms as the teacher, and embedding and head as they are stored of it, unless
/// the recipe trains them. Throws Error{kUnsupported} naming the first that was trained.
void require_untrained(const arch::Checkpoint& teacher, const arch::Checkpoint& packed,
                       const Recipe& recipe);

}  // namespace onebit::distill
