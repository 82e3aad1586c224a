// What the matrices of a model read when it reads calibration text: block by block, each with the
// inputs that the blocks before it give once they are quantised, and within a block each matrix
// with what the quantised ones before it give ("true sequential" in GPTQ's code).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <torch/types.h>

#include "arch/checkpoint.h"
#include "base/scratch_file.h"
#include "nn/decoder.h"
#include "quant/method.h"
#include "quant/token_windows.h"

namespace onebit::quant {

class Calibration {
 public:
  /// The residual stream of all windows, f32 [windows, tokens, D], is in a scratch file in
  /// `folder`, and for methods that train blocks (`with_targets`) that of the full-precision model
  /// in another; in memory are one block's weights and activations of some 2,048 tokens. `source`
  /// must outlive the object; `windows` are whole and no longer than its context. Throws
  /// Error{kIo}.
  Calibration(const arch::Checkpoint& source, const TokenWindows& windows,
              const std::filesystem::path& folder, std::stop_token stop, bool with_targets = false);

  /// Loads block `layer`: 0 first, then one after the other.
  void begin_block(std::int64_t layer);

  /// The block as loaded, in f32, which a method that trains it may change.
  nn::DecoderModel& block();
  std::int64_t layer() const noexcept { return layer_; }
  std::int64_t windows() const noexcept { return states_.size(0); }

  /// Sends the full-precision stream through the block as it is now: once, before anything of it is
  /// replaced. Throws Error{kInterrupted}.
  void make_targets();

  /// What the block reads of windows [first, first + count), after the quantised blocks before it,
  /// and what the full-precision model has after this block: f32 [count, tokens, D]. Not to be
  /// written to; inputs() only before the block's second moments. Throw Error{kInterrupted}.
  torch::Tensor inputs(std::int64_t first, std::int64_t count) const;
  torch::Tensor targets(std::int64_t first, std::int64_t count) const;

  /// H = 2/n Σ x xᵀ over all tokens of the n windows, x what the matrix reads: f64 [in, in], as
  /// GPTQ's code has it. Each product of a batch is in f32, their sum in f64. Throws
  /// Error{kInterrupted}, and Error{kNumeric} for inputs that are not finite.
  torch::Tensor second_moment(arch::Role role);

  /// From here on the block has the matrix as quantised.
  void replace(arch::Role role, const FakeQuantized& quantized);

  /// Sends the windows through the block: the next one's inputs. Throws Error{kInterrupted}.
  void end_block();

 private:
  class Observer;
  struct Moment;

  torch::Tensor batch(const torch::Tensor& states, std::int64_t index) const;
  std::int64_t batches() const noexcept;
  template <class Step>
  void advance(const torch::Tensor& states, const Step& step);
  torch::Tensor through_rest(const torch::Tensor& x);
  /// Once all of the attention is quantised, its half of the block need not be computed again.
  void go_to_the_middle();
  void require_running() const;

  const arch::Checkpoint& source_;
  std::int64_t batch_windows_;
  std::stop_token stop_;
  ScratchFile file_;
  /// [windows, tokens, D], in file_: before the block, or once in_the_middle_ after its attention.
  torch::Tensor states_;
  std::optional<ScratchFile> full_file_;
  torch::Tensor full_states_;  ///< the same of the full-precision model; undefined: not wanted
  std::int64_t layer_ = -1;
  bool has_targets_ = false;  ///< full_states_ are past the block
  bool in_the_middle_ = false;
  std::set<arch::Role> replaced_;  ///< matrices of the block
  std::unique_ptr<nn::DecoderModel> block_;
  std::map<arch::Role, torch::Tensor> moments_;  ///< of matrices of the block that wait their turn
};

}  // namespace onebit::quant
