// Hybrid quantisation-aware training: matrices of a student that keep more bits than the others.
// Either they are not trained but as another method has them, and the others learn to make up for
// what they lose; or they are trained as the others are, at other bits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "arch/packed_writer.h"
#include "distill/recipe.h"
#include "nn/linear.h"
#include "quant/method.h"

namespace onebit::distill {

class Mixture {
 public:
  /// Of Recipe::mixture, "PATTERN=METHOD[:BITS],…", the first that matches a matrix. `recipe` and
  /// `teacher` outlive this and its layers. Throws Error{kInvalidArgument} as require_word(), for
  /// bits of a method that is not the recipe's, and for a pattern that matches no matrix;
  /// Error{kUnsupported} for the form kFoldable, in which matrices share scales, and where nothing
  /// is left to train.
  Mixture(const Recipe& recipe, const arch::Checkpoint& teacher);

  /// Throws Error{kInvalidArgument} for what is no PATTERN=METHOD[:BITS] with a method that needs
  /// nothing but the matrix (f16, bf16, int8, rtn), whose matrices are kept, or with bits of one
  /// that trains matrices of several widths (llm-qat, lowrank).
  static void require_word(std::string_view word);

  /// Whether the matrix is not trained.
  bool keeps(const arch::TensorId& matrix) const { return kept_.contains(matrix); }

  /// How the file has a matrix that is kept.
  arch::Storage storage(const arch::TensorId& matrix, const formats::Shape& shape) const;

  /// Such a matrix as a layer, of what a file makes of the teacher's. Its inputs stay as they are,
  /// whatever the student's method does to others'.
  std::unique_ptr<nn::Linear> layer(const arch::TensorId& matrix, torch::Device device) const;

  /// The recipe of a matrix that is trained: with its own bits.
  Recipe recipe_of(const arch::TensorId& matrix) const;

  /// "rtn+onebit": the methods of all matrices, named as those of a quantised mixture.
  std::string method_names() const;

 private:
  const Recipe& recipe_;
  const arch::Checkpoint& teacher_;
  std::map<arch::TensorId, quant::MethodChoice> kept_;
  std::map<arch::TensorId, int> bits_;  ///< of matrices that are trained at other bits
};

}  // namespace onebit::distill
