// The methods that train, beside OneBit's own: what their layers are made of, how files hold them,
// and which settings a run of each has where nothing is said.
#pragma once

#include <cstdint>
#include <memory>

#include "arch/packed_writer.h"
#include "distill/recipe.h"
#include "nn/rounded_linear.h"

namespace onebit::distill {

/// Makes the recipe one of the method: what the method's authors do differently from the recipe it
/// was (docs/methods.md has the list).
void choose_method(Recipe& recipe, StudentMethod method);

/// How `onebit train` trains kBitNet and kBitNet158 from scratch: on labels alone, as the papers
/// do, with their rates for their smallest models.
Recipe scratch_recipe(StudentMethod method);

/// Of kLlmQat, kBitNet and kBitNet158. `norm_eps` is the model's.
nn::RoundedOptions rounded_options(const Recipe& recipe, double norm_eps);

/// What the student does to activations; nothing for the other methods.
arch::ActivationRule activation_rule(const Recipe& recipe);

/// What a file of the student is: its provenance, and how it holds each matrix.
void set_storage(const Recipe& recipe, const arch::Checkpoint& teacher, arch::PackOptions& options);

/// A layer of a student that is not OneBit's, as it starts from W [out, in], which stays.
std::unique_ptr<nn::Linear> start_layer(const Recipe& recipe, double norm_eps,
                                        const torch::Tensor& w);

/// The same from a packed student of kLowRank, the only one of these methods whose files hold all
/// that is trained.
std::unique_ptr<nn::Linear> packed_layer(const Recipe& recipe, const arch::Checkpoint& packed,
                                         arch::Role role, std::int64_t layer, torch::Device device);

}  // namespace onebit::distill
