// What distillation minimises:
//   L = α·s·D(teacher, student) + (1 − α)·CE(labels) + β·hidden + γ·attention
// with the reference implementation's definitions as defaults (OneBit, arXiv 2402.11295, eq. 7-9;
// its code differs from the paper in details that are named below, and the code is followed).
//
// B sequences of T tokens, N = B·T, D model, V vocabulary.
#pragma once

#include <cstdint>
#include <torch/types.h>
#include <vector>

#include "base/words.h"

namespace onebit::distill {

/// How the divergence of all tokens becomes one number.
enum class LogitReduction : std::uint8_t {
  kPerSequence,  ///< sum over tokens and vocabulary / B, as the reference: grows with T
  kPerToken,     ///< sum over tokens and vocabulary / N
};

/// D, with p = softmax(logits / τ). The two differ by the teacher's entropy and have one gradient.
enum class LogitTerm : std::uint8_t {
  kDivergence,    ///< τ² Σ p_t (log p_t − log p_s), the reference
  kCrossEntropy,  ///< −τ² Σ p_t log p_s, the paper (eq. 7)
};

struct LogitLossOptions {
  double alpha = 1.0;  ///< 1: the labels are not used
  double scale = 0.01;
  LogitTerm term = LogitTerm::kDivergence;
  /// τ. The factor τ² keeps the gradient's size (Hinton et al., arXiv 1503.02531, section 2).
  double temperature = 1.0;
  LogitReduction reduction = LogitReduction::kPerSequence;
  /// Tokens whose logits exist at one time: 2 · chunk · V numbers of the compute type and three
  /// times chunk · V in f32. 0: logit_chunk().
  std::int64_t chunk = 0;
};

/// As many tokens as fill a matrix product; on a GPU enough that launching kernels costs little.
std::int64_t logit_chunk(torch::Device device);

struct LogitLoss {
  torch::Tensor loss;       ///< scalar, differentiable: α·s·D + (1 − α)·CE
  double kl_per_token = 0;  ///< mean KL(teacher ‖ student) in nats at temperature τ, not weighted
  double ce_per_token = 0;  ///< mean −log p_student(label) over B·(T−1) predicted tokens
  double teacher_ce_per_token = 0;  ///< the same of the teacher
};

/// hidden_*: [B, T, D] after the output norm; head_*: [V, D] as DecoderModel::head(); tokens: int64
/// [B, T], the labels being the tokens that follow. Only the student gets a
/// gradient, which is formed chunk by chunk during the forward pass and no
/// [N, V] tensor outlives its chunk; so is that of a student's head which is trained. Softmax and
/// sums are f32 for bf16 (f64 for f64). Without teacher (undefined, α = 0) its figures are 0.
LogitLoss logit_loss(const torch::Tensor& hidden_student, const torch::Tensor& head_student,
                     const torch::Tensor& hidden_teacher, const torch::Tensor& head_teacher,
                     const torch::Tensor& tokens, const LogitLossOptions& options);

/// Σ over states of the mean over tokens of ‖a/‖a‖ − b/‖b‖‖², norms over features, ‖·‖ at least
/// 1e-12. Reference: states 0 … L−1; `count` says how many of the given states take part. Gradient
/// for `student` only.
torch::Tensor hidden_loss(const std::vector<torch::Tensor>& student,
                          const std::vector<torch::Tensor>& teacher, std::size_t count);

/// Σ over layers of the mean over B·heads·T rows of ‖a − b‖², a and b rows of attention weights.
torch::Tensor attention_loss(const std::vector<torch::Tensor>& student,
                             const std::vector<torch::Tensor>& teacher);

/// Mean over tokens of ‖a − b‖² / ‖b‖², norms over features, ‖b‖² at least 1e-12: what a block is
/// fitted by. a, b: [B, T, D]; gradient for `student` only. Every token counts alike, however large
/// its state: a few tokens of a pretrained model have states a thousand times the others'.
torch::Tensor relative_error(const torch::Tensor& student, const torch::Tensor& teacher);

}  // namespace onebit::distill

namespace onebit {

template <>
struct Words<distill::LogitTerm> {
  static constexpr Word<distill::LogitTerm> kAll[] = {
      {distill::LogitTerm::kDivergence, "kl"},
      {distill::LogitTerm::kCrossEntropy, "cross-entropy"}};
};

template <>
struct Words<distill::LogitReduction> {
  static constexpr Word<distill::LogitReduction> kAll[] = {
      {distill::LogitReduction::kPerSequence, "sequence"},
      {distill::LogitReduction::kPerToken, "token"}};
};

}  // namespace onebit
