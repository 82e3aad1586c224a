// OmniQuant of one block (arXiv 2308.13137; github.com/OpenGVLab/OmniQuant where the paper is
// silent): what bounds its grids is trained so that the quantised block turns what it reads into
// the full-precision block's output. Its weights are not.
//
// Learnable weight clipping (equation 2), a gamma and a beta for each row, or group of a row:
//   high = sigmoid(gamma) max W,  low = sigmoid(beta) min W,  both from 4;  W as in
//   affine_rounding.h
// Learnable equivalent transformation (equations 3 to 5, here without shifts, which the official
// code never trains in a llama), scales s of channels:
//   attn_norm / s, columns of attn_q, attn_k, attn_v · s      qkv_scale [D]
//   ffn_norm / s,  columns of ffn_up, ffn_gate · s            ffn_scale [D]
//   rows of attn_v / s, columns of attn_output · s            out_scale [KV_DIM]
//   rows of attn_q / s, rows of attn_k · s                    qk_scale [KV_DIM]
// with the query heads of a key-value head sharing its channels. qk_scale changes what the block
// computes where the two channels of a rotary pair differ in it; as in the official code nothing
// ties them, and the loss sees it. Scales start at SmoothQuant's
// max|x|^alpha / max|W|^(1 - alpha), qk_scale at 1; one of magnitude below 0.01 is set to that.
// Activations, where they have fewer than 16 bits, are rounded per token: what each matrix reads,
// and what attention's products do, a head at a time.
//
// Loss: mean of squares. AdamW without decay, betas 0.9 and 0.999, epsilon 1e-8, constant rates.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <torch/types.h>

#include "arch/code_matrix.h"
#include "nn/affine_rounding.h"
#include "nn/decoder.h"
#include "quant/omniquant_training.h"

namespace onebit::quant {

struct OmniquantOptions {
  int bits = 4;  ///< of weights, 1 to 8
  int activation_bits = arch::ActivationRule::kExact;
  std::int64_t group_size =
      0;  ///< inputs that share a grid; 0: a whole row. The last may be partial
  OmniquantTraining training;
  formats::DType scales = formats::DType::kF16;  ///< nn::AffineOptions::scales
};

/// What the quantised block does to activations.
arch::ActivationRule activation_rule(const OmniquantOptions& options);

/// The largest |x| of every channel that some matrices read, [in] each.
using InputPeaks = std::map<arch::Role, torch::Tensor>;

/// Those of the matrices from which the transformation starts, over all that goes through the block
/// while `run` is called. The block is afterwards as it was.
InputPeaks input_peaks(nn::DecoderModel& model, std::int64_t layer,
                       const std::function<void()>& run);

/// Windows to train on: what the block reads, and what it should give, [count, T, D] of windows
/// [first, first + count).
struct BlockSamples {
  using Read = std::function<torch::Tensor(std::int64_t first, std::int64_t count)>;
  std::int64_t windows = 0;
  Read inputs;
  Read targets;
};

class OmniquantBlock {
 public:
  /// `model` holds block `layer` with dense matrices and outlives the object; from here on its
  /// matrices, norms and attention are those of the quantised block. `peaks`: input_peaks(), needed
  /// with the transformation only.
  OmniquantBlock(nn::DecoderModel& model, std::int64_t layer, const OmniquantOptions& options,
                 const InputPeaks& peaks);
  ~OmniquantBlock();
  OmniquantBlock(const OmniquantBlock&) = delete;
  OmniquantBlock& operator=(const OmniquantBlock&) = delete;

  /// `epochs` times over all windows in their order. on_step(step, its loss), steps from 0. Ends
  /// with apply(). Throws Error{kNumeric} for a loss that is not finite, and as `samples`.
  void train(const BlockSamples& samples,
             const std::function<void(std::int64_t, double)>& on_step = {});

  /// Makes the model's block what the parameters stand for, without gradients.
  void apply();

  /// A matrix as it is stored, what it was before rounding, transformed, f32 [out, in], and a norm.
  arch::CodeValues codes(arch::Role role) const;
  torch::Tensor weight(arch::Role role) const;
  const torch::Tensor& norm(arch::Role role) const;

  /// What is trained, by name: "qkv_scale" …, "attn_q.gamma", "attn_q.beta" ….
  std::map<std::string, torch::Tensor> parameters() const;

 private:
  struct Matrix;
  void start_scales(const InputPeaks& peaks);
  void keep_scales_apart_from_zero();
  torch::Tensor transformed(arch::Role role) const;  ///< a matrix or a norm
  torch::Tensor quantised(arch::Role role) const;
  void install();
  double step(const torch::Tensor& x, const torch::Tensor& target);

  nn::DecoderModel& model_;
  std::int64_t layer_;
  OmniquantOptions options_;
  nn::AffineOptions rounding_;
  std::map<arch::Role, Matrix> matrices_;
  std::map<arch::Role, torch::Tensor> norms_;    ///< as in the full-precision model
  std::map<std::string, torch::Tensor> scales_;  ///< of the transformation; none without it
  torch::Tensor
      shared_;  ///< int64 [heads · head_dim]: the channel of a key-value head that it uses
  struct Optimizer;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace onebit::quant
