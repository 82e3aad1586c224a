// What one position of a text says of a model, and of how far it is from a teacher.
#pragma once

#include <span>

#include "eval/log_prob_row.h"
#include "text/tokenizer.h"

namespace onebit::eval {

/// z and t are the model's and the teacher's logits, q and p their softmax; all in nats.
struct PositionScore {
  double nll = 0;          ///< -ln q_target; NaN when a logit of the model is not finite
  double teacher_nll = 0;  ///< -ln p_target
  double kl = 0;  ///< KL(p ‖ q) = Σ p ln(p / q); NaN when a logit of the teacher is not finite
  bool same_top = false;  ///< both rank the same token first, ties to the lower id
};

/// Rows of V logits; 0 <= target < V. nll is as exact as log_sum_exp.
PositionScore score_position(std::span<const float> model, text::TokenId target);

/// KL = E_p[t - z] - lse(t) + lse(z), lse of log_sum_exp: off by less than twice its error, and by
/// 2^-21 of the mean |t - z| under p; never below 0, and 0 for equal logits.
PositionScore score_position(std::span<const float> model, std::span<const float> teacher,
                             text::TokenId target);

/// KL = Σ p (ln p - ln q) over the tokens with ln p > kLeastLogProb, as llama.cpp's --kl-divergence
/// has it: without what those below that contribute, off by the codes' rounding (LogProbRow), which
/// is as often up as down, so that it may be below 0.
PositionScore score_position(std::span<const float> model, const LogProbRow& teacher,
                             text::TokenId target);

}  // namespace onebit::eval
