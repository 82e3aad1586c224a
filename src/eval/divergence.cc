#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "eval/vector_exp.h"

namespace onebit::eval {
namespace {

using Short4 = std::uint16_t __attribute__((vector_size(8)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Σ weight and Σ weight · value, lane by lane.
struct WeightedSum {
  Double4 weights = {};
  Double4 products = {};

  void add(Float4 weight, Float4 value) noexcept {
    accumulate(weights, weight);
    accumulate(products, weight * value);
  }
  void add(float weight, float value) noexcept {
    weights[0] += weight;
    products[0] += weight * value;
  }
};

/// Σ e^(t - max t) and Σ e^(t - max t) (t - z).
WeightedSum differences(std::span<const float> model, std::span<const float> teacher,
                        float max) noexcept {
  WeightedSum sum;
  std::size_t i = 0;
  for (; i + 4 <= teacher.size(); i += 4) {
    const Float4 t = load4(&teacher[i]);
    sum.add(exp4(t - max), t - load4(&model[i]));
  }
  for (; i < teacher.size(); ++i) sum.add(exp1(teacher[i] - max), teacher[i] - model[i]);
  return sum;
}

/// Σ p and Σ p (ln p - (z - max z)) over what is kept of the row.
WeightedSum differences(std::span<const float> model, const LogProbRow& teacher,
                        float max) noexcept {
  WeightedSum sum;
  std::size_t i = 0;
  for (; i + 4 <= model.size(); i += 4) {
    Short4 codes;
    std::memcpy(&codes, &teacher.codes[i], sizeof(codes));
    const Float4 steps = __builtin_convertvector(__builtin_convertvector(codes, Int4), Float4);
    const Float4 log_p = steps * teacher.scale + teacher.least;
    sum.add(keep(log_p > kLeastLogProb, exp4(log_p)), log_p - (load4(&model[i]) - max));
  }
  for (; i < model.size(); ++i) {
    const float log_p = teacher.log_prob(i);
    if (log_p > kLeastLogProb) sum.add(exp1(log_p), log_p - (model[i] - max));
  }
  return sum;
}

double nll_of(std::span<const float> logits, const LogSumExp& sums, text::TokenId target) {
  return sums.finite ? sums.value - logits[static_cast<std::size_t>(target)] : kNaN;
}

}  // namespace

PositionScore score_position(std::span<const float> model, text::TokenId target) {
  return {.nll = nll_of(model, log_sum_exp(model), target)};
}

PositionScore score_position(std::span<const float> model, std::span<const float> teacher,
                             text::TokenId target) {
  const LogSumExp own = log_sum_exp(model);
  const LogSumExp other = log_sum_exp(teacher);
  PositionScore score = {.nll = nll_of(model, own, target),
                         .teacher_nll = nll_of(teacher, other, target),
                         .kl = kNaN,
                         .same_top = own.top == other.top};
  if (!own.finite || !other.finite) return score;
  const WeightedSum sum = differences(model, teacher, teacher[other.top]);
  const double kl = total(sum.products) / total(sum.weights) - other.value + own.value;
  score.kl = kl < 0 ? 0 : kl;  // below zero by rounding only
  return score;
}

PositionScore score_position(std::span<const float> model, const LogProbRow& teacher,
                             text::TokenId target) {
  const LogSumExp own = log_sum_exp(model);
  const auto top = std::max_element(teacher.codes.begin(), teacher.codes.end());
  PositionScore score = {
      .nll = nll_of(model, own, target),
      .teacher_nll = -static_cast<double>(teacher.log_prob(static_cast<std::size_t>(target))),
      .kl = 0,
      .same_top = own.top == static_cast<std::size_t>(top - teacher.codes.begin())};
  if (!own.finite) return score;
  const float max = model[own.top];
  const WeightedSum sum = differences(model, teacher, max);
  score.kl = total(sum.products) + total(sum.weights) * (own.value - max);
  return score;
}

}  // namespace onebit::eval
