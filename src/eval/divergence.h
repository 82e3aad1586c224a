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

/// Of a row of the kind kLlamaCpp, KL = Σ p (ln p - ln q) over the tokens with ln p > -16, and ln
/// p_target as it is kept, as llama.cpp's --kl-divergence has them: the sum of p is not quite 1,
/// and KL may be below 0. Of a whole row, p is divided by its sum first: KL is that from what the
/// row says, off from the teacher's by the codes' rounding times the spread of ln(p / q) under p.
PositionScore score_position(std::span<const float> model, const LogProbRow& teacher,
                             text::TokenId target);

}  // namespace onebit::eval
