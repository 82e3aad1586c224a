// What the methods that store integer codes have in common: from codes to a file, to fake-quantised
// weights, and to a report.
#pragma once

#include <map>
#include <utility>

#include "arch/code_matrix.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "quant/block_parts.h"
#include "quant/grid.h"
#include "quant/method.h"

namespace onebit::quant {

class CodeQuantizer : public Quantizer {
 public:
  explicit CodeQuantizer(formats::DType scales) : scales_(scales) {}

  arch::Storage storage(const arch::TensorId& id, const formats::Shape& shape) const final {
    return spec(id, shape);
  }
  void set_inputs(const torch::Tensor& second_moment) override { inputs_ = second_moment; }
  void begin_layer(std::int64_t) override { kept_.clear(); }
  MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) final;
  FakeQuantized fake_quantize(const MatrixTask& task) final;
  void save_block(BlockPart& part) const override;
  void restore_block(std::int64_t layer, std::span<const arch::Role> matrices,
                     const BlockPart& part, Calibration*) override;

 protected:
  /// Of the matrix under way, for a method that calibrates.
  const torch::Tensor& inputs() const {
    ONEBIT_CHECK(inputs_.defined());
    return inputs_;
  }

  /// How a matrix of this shape is stored.
  virtual arch::CodeSpec spec(const arch::TensorId& id, const formats::Shape& shape) const = 0;

  /// Codes of a matrix of finite weights, by its spec.
  virtual arch::CodeValues quantize(const MatrixTask& task) = 0;

  /// What the codes stand for and errors are measured by: not the task's weights where a method has
  /// moved scales between tensors.
  virtual std::span<const float> coded_weights(const MatrixTask& task) { return task.weights; }

 private:
  struct Kept {
    arch::CodeValues values;
    bool restored = false;  ///< from a part: fake_quantize() need not find it
  };

  /// quantize() of weights that are finite, with scales that a file holds, or kNumeric.
  arch::CodeValues found(const MatrixTask& task);

  /// What codes stand for, and how far that is from the weights.
  FakeQuantized meaning(const MatrixTask& task, const arch::CodeValues& values);

  formats::DType scales_;
  torch::Tensor inputs_;
  /// Of this layer, found by fake_quantize(): add() stores it. The order is that of the roles.
  std::map<arch::TensorId, Kept> kept_;
};

/// Codes of a matrix by a grid for each group of each row: fit(weights of the group) gives the
/// grid, code(weight, grid) the code. Zero points are kept if `with_zero`.
template <class Fit, class Code>
arch::CodeValues code_groups(const MatrixTask& task, std::int64_t group_size, bool with_zero,
                             ThreadPool& pool, const Fit& fit, const Code& code) {
  arch::CodeValues values;
  values.ends = arch::group_ends(task.in, group_size);
  const std::size_t groups = values.ends.size();
  values.codes.resize(task.weights.size());
  values.scale.resize(static_cast<std::size_t>(task.out) * groups);
  if (with_zero) values.zero.resize(values.scale.size());
  pool.parallel_for(task.out, 16, [&](std::int64_t first, std::int64_t last, int) {
    for (std::int64_t r = first; r < last; ++r) {
      auto begin = static_cast<std::size_t>(r * task.in);
      const std::size_t row = begin;
      for (std::size_t s = 0; s < groups; ++s) {
        const std::size_t end = row + static_cast<std::size_t>(values.ends[s]);
        const std::span<const float> w = task.weights.subspan(begin, end - begin);
        const Grid grid = fit(w);
        const std::size_t at = static_cast<std::size_t>(r) * groups + s;
        values.scale[at] = static_cast<float>(grid.scale);
        if (with_zero) values.zero[at] = static_cast<float>(grid.zero);
        for (std::size_t i = begin; i < end; ++i) values.codes[i] = code(task.weights[i], grid);
        begin = end;
      }
    }
  });
  return values;
}

/// Throws Error{kNumeric} naming the first weight that is not finite.
void require_finite(const MatrixTask& task);

/// relative_error, square_error and square_norm of Ŵ.
void measure_error(const MatrixTask& task, std::span<const float> fake, MatrixReport& report);

}  // namespace onebit::quant
