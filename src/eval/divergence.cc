#include "eval/divergence.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "eval/vector_exp.h"

namespace onebit::eval {
namespace {

using Short4 = std::uint16_t __attribute__((vector_size(8)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

/// llama.cpp's bound: its sums leave out what is not above it.
constexpr float kLeastLogProb = -16.0F;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A weight and its product with a value; V is Float4, or float.
template <class V>
struct Term {
  V weight;
  V product;

  friend Term operator+(const Term& a, const Term& b) noexcept {
    return {a.weight + b.weight, a.product + b.product};
  }
};

struct WeightedSum {
  Sum4 weights;
  Sum4 products;

  template <class V>
  void add(const Term<V>& term) noexcept {
    weights.add(term.weight);
    products.add(term.product);
  }
};

/// Sums over [0, size): term4(i) is of i … i+3, term1(i) of i alone.
template <class Term4, class Term1>
WeightedSum sum_terms(std::size_t size, const Term4& term4, const Term1& term1) noexcept {
  WeightedSum sum;
  std::size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const Term<Float4> first = term4(i) + term4(i + 4);
    sum.add(first + (term4(i + 8) + term4(i + 12)));
  }
  for (; i < size; ++i) sum.add(term1(i));
  return sum;
}

/// Σ e^(t - max t) and Σ e^(t - max t) (t - z).
WeightedSum differences(std::span<const float> model, std::span<const float> teacher,
                        float max) noexcept {
  const auto term4 = [&](std::size_t i) -> Term<Float4> {
    const Float4 t = load4(&teacher[i]);
    const Float4 weight = exp4(t - max);
    return {weight, weight * (t - load4(&model[i]))};
  };
  const auto term1 = [&](std::size_t i) -> Term<float> {
    const float weight = exp1(teacher[i] - max);
    return {weight, weight * (teacher[i] - model[i])};
  };
  return sum_terms(model.size(), term4, term1);
}

/// Σ p and Σ p (ln p - (z - max z)) over what is kept of the row.
WeightedSum differences(std::span<const float> model, const LogProbRow& teacher,
                        float max) noexcept {
  const float bound =
      teacher.kind == RowKind::kLlamaCpp ? kLeastLogProb : -std::numeric_limits<float>::infinity();
  const auto term4 = [&](std::size_t i) -> Term<Float4> {
    Short4 codes;
    std::memcpy(&codes, &teacher.codes[i], sizeof(codes));
    const Float4 steps = __builtin_convertvector(__builtin_convertvector(codes, Int4), Float4);
    const Float4 log_p = steps * teacher.scale + teacher.least;
    const Float4 weight = keep(log_p > bound, exp4(log_p));
    return {weight, weight * (log_p - (load4(&model[i]) - max))};
  };
  const auto term1 = [&](std::size_t i) -> Term<float> {
    const float log_p = teacher.log_prob(i);
    const float weight = log_p > bound ? exp1(log_p) : 0.0F;
    return {weight, weight * (log_p - (model[i] - max))};
  };
  return sum_terms(model.size(), term4, term1);
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
  const std::size_t top = first_greatest<Float4>(teacher);
  PositionScore score = {.nll = nll_of(model, own, target), .same_top = own.top == top};
  if (!own.finite) return score;
  const WeightedSum sum = differences(model, teacher, teacher[top]);
  // The sum of log_sum_exp(teacher), term by term.
  const double other = teacher[top] + std::log(sum.weights.total());
  score.teacher_nll = other - teacher[static_cast<std::size_t>(target)];
  const double kl = sum.products.total() / sum.weights.total() - other + own.value;
  // Below zero by rounding only. A logit that is not finite has the weight 0 and makes 0 · t a NaN.
  score.kl = kl < 0 ? 0 : kl;
  return score;
}

PositionScore score_position(std::span<const float> model, const LogProbRow& teacher,
                             text::TokenId target) {
  const LogSumExp own = log_sum_exp(model);
  const double log_p = teacher.log_prob(static_cast<std::size_t>(target));
  PositionScore score = {.nll = nll_of(model, own, target),
                         .teacher_nll = -log_p,
                         .same_top = own.top == first_greatest<Short8>(teacher.codes)};
  if (!own.finite) return score;
  const float max = model[own.top];
  const WeightedSum sum = differences(model, teacher, max);
  const double weights = sum.weights.total();
  score.kl = sum.products.total() + weights * (own.value - max);
  if (teacher.kind == RowKind::kWhole) {
    score.kl = score.kl / weights - std::log(weights);
    score.teacher_nll += std::log(weights);
  }
  return score;
}

}  // namespace onebit::eval
