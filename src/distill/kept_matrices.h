// Hybrid quantisation-aware training: matrices of a student that are not trained, and keep more
// bits than those that are. The others learn to make up for what these lose.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "arch/packed_writer.h"
#include "distill/recipe.h"
#include "nn/linear.h"
#include "quant/method.h"

namespace onebit::distill {

class KeptMatrices {
 public:
  /// Those that Recipe::kept names, "PATTERN=METHOD[:BITS],…", the first that matches a matrix.
  /// `teacher` outlives this and its layers. Throws Error{kInvalidArgument} for words that are none
  /// such, a method that needs more than the matrix itself (f16, bf16, int8 and rtn do not), a
  /// pattern that matches no matrix; Error{kUnsupported} for the form kFoldable, in which matrices
  /// share scales, and where nothing is left to train.
  KeptMatrices(const Recipe& recipe, const arch::Checkpoint& teacher);

  /// Whether matrices can be kept by a method.
  static bool takes(const quant::Method& method);

  bool has(const arch::TensorId& matrix) const { return choices_.contains(matrix); }

  /// How the file has one of them.
  arch::Storage storage(const arch::TensorId& matrix, const formats::Shape& shape) const;

  /// One of them as a layer, of what a file makes of the teacher's matrix.
  std::unique_ptr<nn::Linear> layer(const arch::TensorId& matrix, torch::Device device) const;

  /// "rtn+onebit": the methods of all matrices, named as those of a quantised mixture.
  std::string method_names() const;

 private:
  const Recipe& recipe_;
  const arch::Checkpoint& teacher_;
  std::map<arch::TensorId, quant::MethodChoice> choices_;
};

}  // namespace onebit::distill
