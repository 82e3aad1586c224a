// How far a model moves from itself when one matrix alone is quantised: what each matrix of it
// costs, by method and bits. The measure by which bits are later shared out among matrices.
//
// For a matrix m and a setting s, with z the full-precision model's logits and ẑ those of the model
// in which m alone is quantised by s, over the predicted positions n of the windows:
//
//   KL(m, s) = (1/N) Σ_n KL(p_n ‖ p̂_n),  KL(p ‖ p̂) = Σ_v p_v (log p_v − log p̂_v) nats,
//   p = softmax(z), p̂ = softmax(ẑ).
//
// Windows and positions are those of the papers' perplexity (eval/windows.h): a window of c
// tokens has c − 1 of them.
//
// One pass through the model costs as much as all blocks; what comes before the quantised matrix's
// block is the same for all of a block's matrices, so that the pass begins there: half the work.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <torch/types.h>
#include <vector>

#include "arch/checkpoint.h"
#include "base/progress.h"
#include "quant/method.h"
#include "quant/token_windows.h"

namespace onebit::quant {

/// One way to quantise a matrix.
struct Setting {
  const Method* method = nullptr;
  MethodOptions options;
};

struct SensitivityOptions {
  std::vector<Setting> settings;

  /// Whether to measure a matrix by settings[setting]; empty: all. For a choice of matrices, and to
  /// go on with a measurement that was broken off.
  std::function<bool(const arch::TensorId& matrix, std::size_t setting)> wanted;

  int threads = 0;  ///< of SVID and the like, 0: one per hardware thread; libtorch has its own
  torch::ScalarType compute = torch::kFloat32;  ///< f32, or f64

  /// The full-precision model's logits, N × vocabulary values, are kept where they take no more
  /// than this many bytes; else they are computed again, a few positions at a time, beside those of
  /// every matrix, from its hidden states, which are kept always.
  std::uint64_t logits_bytes = std::uint64_t{1} << 30;

  /// As many of the last blocks as take no more than this many bytes stay in memory; others are
  /// read again each time that they are passed through.
  std::uint64_t model_bytes = std::uint64_t{4} << 30;
};

/// What one matrix costs.
struct Sensitivity {
  arch::TensorId matrix = {};
  std::size_t setting = 0;         ///< index into SensitivityOptions::settings
  MatrixReport report;             ///< the matrix itself: error and size
  std::uint64_t source_bytes = 0;  ///< stored for it in the source
  double kl_mean = 0;
  double kl_stderr = 0;  ///< standard error of the mean over positions
  double kl_p99 = 0;     ///< 99th percentile over positions, as eval::PerplexityResult::kl_p99
  double ppl = 0;
  double ppl_stderr = 0;  ///< ppl · standard error of the mean NLL
  /// ‖Y − Ŷ‖² / ‖Y‖² over all positions, Y = X Wᵀ; 0 when Y = 0. Ŷ is what stands in its place:
  /// X Ŵᵀ, or LN(X Ŵᵀ) in the form paper.
  double output_error = 0;
};

/// The full-precision model on the same positions.
struct SensitivityBaseline {
  std::int64_t positions = 0;  ///< N
  double ppl = 0;
  double ppl_stderr = 0;
};

using OnBaseline = std::function<void(const SensitivityBaseline&)>;
using OnSensitivity = std::function<void(const Sensitivity&)>;

/// Measures each wanted matrix by each wanted setting, layer by layer, within a layer in the
/// architecture's order; `on_baseline` comes first, once, `on_row` as soon as one is measured.
/// A row depends on nothing but model, windows, matrix and setting: not on which others are wanted.
/// What the number of threads changes is the order of sums. Logits that rounding moves by ε at most
/// move KL by at most 2ε (√(2 KL) + KL) to first order: its derivatives for ẑ and z are p̂ − p and
/// p ⊙ (log(p/p̂) − KL), whose 1-norms √(2 KL) (Pinsker) and 2 KL + √(2 KL) bound.
///
/// Peak memory in the compute type: embedding and head, the blocks that are kept and two others, N
/// states of D values three times, a block's activations for some 2,048 positions, the logits that
/// are kept and three times those of 64 positions.
///
/// Throws Error{kUnsupported} for a packed model and as Method::make; kNumeric for weights that a
/// method cannot represent and for logits that are not finite, naming the matrix; kInterrupted when
/// stopped. Windows that are not whole, of fewer than 2 tokens, or longer than the model's context,
/// are a programmer's error.
void measure_sensitivity(const arch::Checkpoint& source, const TokenWindows& windows,
                         const SensitivityOptions& options, const OnBaseline& on_baseline,
                         const OnSensitivity& on_row, Progress& progress,
                         const std::stop_token& stop);

}  // namespace onebit::quant
