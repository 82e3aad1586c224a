// What the matrices of a model read when it reads calibration text: block by block, each with the
// inputs that the blocks before it give once they are quantised, and within a block each matrix
// with what the quantised ones before it give ("true sequential" in GPTQ's code).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
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
  /// `folder`; in memory are one block's weights and activations of some 2,048 tokens. `source`
  /// must outlive the object; `windows` are whole and no longer than its context. Throws
  /// Error{kIo}.
  Calibration(const arch::Checkpoint& source, const TokenWindows& windows,
              const std::filesystem::path& folder, std::stop_token stop);

  /// Loads block `layer`: 0 first, then one after the other.
  void begin_block(std::int64_t layer);

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

  torch::Tensor batch(std::int64_t index);
  std::int64_t batches() const noexcept;
  void require_running() const;

  const arch::Checkpoint& source_;
  std::int64_t batch_windows_;
  std::stop_token stop_;
  ScratchFile file_;
  torch::Tensor states_;  ///< [windows, tokens, D], in file_
  std::int64_t layer_ = -1;
  std::unique_ptr<nn::DecoderModel> block_;
  std::map<arch::Role, torch::Tensor> moments_;  ///< of matrices of the block that wait their turn
};

}  // namespace onebit::quant
