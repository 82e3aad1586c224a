#include "quant/arb_refinement.h"

#include <limits>
#include <vector>

#include "base/check.h"
#include "quant/binarization.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

/// [rows, columns], or [rows, 1] where columns have no scales.
Tensor scale_of(const RefinedTerms& terms, std::int64_t o) {
  const Tensor rows = terms.scale[o].unsqueeze(1);
  return terms.column_scale.defined() ? rows * terms.column_scale[o] : rows;
}

/// One term of Ŵ, everywhere.
Tensor part(const RefinedTerms& terms, std::int64_t o) {
  return scale_of(terms, o) * terms.sign[o];
}

/// w less every term but one and less the mean.
Tensor left_for(const Tensor& w, const RefinedTerms& terms, std::int64_t o) {
  Tensor left = w - terms.mean.unsqueeze(1);
  for (std::int64_t p = 0; p < terms.scale.size(0); ++p) {
    if (p != o) left -= part(terms, p);
  }
  return left;
}

/// Of two terms: the signs of the nearest of four levels, of equally near ones the first.
Tensor nearest_signs(const Tensor& w, const RefinedTerms& terms) {
  const Tensor left = w - terms.mean.unsqueeze(1);
  const Tensor first = scale_of(terms, 0);
  const Tensor second = scale_of(terms, 1);
  Tensor signs = torch::empty_like(terms.sign);
  Tensor least = torch::full_like(w, std::numeric_limits<double>::infinity());
  for (const double a : {-1.0, 1.0}) {
    for (const double b : {-1.0, 1.0}) {
      const Tensor distance = (left - (a * first + b * second)).abs();
      const Tensor nearer = distance < least;
      least = torch::where(nearer, distance, least);
      signs[0].masked_fill_(nearer, a);
      signs[1].masked_fill_(nearer, b);
    }
  }
  return signs;
}

RefinedTerms start_plain(const Tensor& w, const Tensor& mask, int order) {
  RefinedTerms terms;
  terms.mean = torch::zeros({w.size(0)}, torch::kFloat64);
  std::vector<Tensor> scales;
  std::vector<Tensor> signs;
  scales.reserve(static_cast<std::size_t>(order));
  signs.reserve(static_cast<std::size_t>(order));
  for (const Term& term : binarise(w, mask, order).terms) {
    terms.mean += term.mean;
    scales.push_back(term.scale);
    signs.push_back(term.sign);
  }
  terms.scale = torch::stack(scales);
  terms.sign = torch::stack(signs);
  return terms;
}

/// r_i = mean_j |w_ij|, c_j = mean_i |w_ij| / r_i, b = sign(w), each term of what those before
/// leave.
RefinedTerms start_rows_columns(const Tensor& w, const Tensor& on, int order) {
  std::vector<Tensor> rows;
  std::vector<Tensor> columns;
  std::vector<Tensor> signs;
  for (std::vector<Tensor>* terms : {&rows, &columns, &signs}) {
    terms->reserve(static_cast<std::size_t>(order));
  }
  Tensor left = w * on;
  for (int o = 0; o < order; ++o) {
    const Tensor magnitude = left.abs();
    const Tensor row = quotient(magnitude.sum(1), on.sum(1));
    const Tensor known = on * (row > 0).unsqueeze(1);
    const Tensor relative = quotient(magnitude, row.unsqueeze(1));
    const Tensor column = quotient((relative * known).sum(0), known.sum(0));
    const Tensor sign = sign_of(left);
    left = left - row.unsqueeze(1) * column * sign * on;
    rows.push_back(row);
    columns.push_back(column);
    signs.push_back(sign);
  }
  return {torch::zeros({w.size(0)}, torch::kFloat64), torch::stack(rows), torch::stack(columns),
          torch::stack(signs)};
}

void step_plain(RefinedTerms& terms, const Tensor& w, const Tensor& on, const Tensor& count) {
  Tensor sum = torch::zeros_like(w);
  for (std::int64_t o = 0; o < terms.scale.size(0); ++o) sum += part(terms, o);
  terms.mean = quotient(((w - sum) * on).sum(1), count);
  for (std::int64_t o = 0; o < terms.scale.size(0); ++o) {
    terms.scale[o] = quotient((terms.sign[o] * left_for(w, terms, o) * on).sum(1), count);
  }
  if (terms.scale.size(0) == 1) {
    terms.sign = sign_of(w - terms.mean.unsqueeze(1)).unsqueeze(0);
  } else {
    terms.sign = nearest_signs(w, terms);
  }
}

void step_rows_columns(RefinedTerms& terms, const Tensor& w, const Tensor& on) {
  for (std::int64_t o = 0; o < terms.scale.size(0); ++o) {
    const Tensor target = left_for(w, terms, o);
    const Tensor sign = terms.sign[o] * on;
    const Tensor by_row = terms.column_scale[o] * sign;
    terms.scale[o] = quotient((by_row * target).sum(1), by_row.square().sum(1));
    const Tensor by_column = terms.scale[o].unsqueeze(1) * sign;
    terms.column_scale[o] = quotient((by_column * target).sum(0), by_column.square().sum(0));
  }
  if (terms.scale.size(0) == 2) terms.sign = nearest_signs(w, terms);
}

}  // namespace

Tensor RefinedTerms::value(const Tensor& mask) const {
  Tensor sum = mean.unsqueeze(1).expand_as(mask).clone();
  for (std::int64_t o = 0; o < scale.size(0); ++o) sum += part(*this, o);
  return sum * mask;
}

RefinedTerms refine(Refinement kind, const Tensor& w, const Tensor& mask, int order,
                    int iterations) {
  ONEBIT_CHECK(kind != Refinement::kInputs && (order == 1 || order == 2));
  const Tensor on = mask.to(torch::kFloat64);
  if (kind == Refinement::kPlain) {
    const Tensor count = on.sum(1);
    RefinedTerms terms = start_plain(w, mask, order);
    for (int i = 0; i < iterations; ++i) step_plain(terms, w, on, count);
    return terms;
  }
  const Tensor masked = w * on;
  RefinedTerms terms = start_rows_columns(masked, on, order);
  for (int i = 0; i < iterations; ++i) step_rows_columns(terms, masked, on);
  return terms;
}

void fit_to_inputs(RefinedTerms& terms, const Tensor& w, const Tensor& mask, const Tensor& s,
                   int iterations) {
  const Tensor on = mask.to(torch::kFloat64);
  const Tensor masked = w * on;
  const Tensor signs = terms.sign * on;
  /// Of direction · multiple, the nearest to a target under S; both [rows, columns].
  struct Fit {
    Tensor image;
    Tensor norm;
    Fit(const Tensor& direction, const Tensor& s)
        : image(direction.matmul(s)), norm((image * direction).sum(1)) {}
    Tensor operator()(const Tensor& target) const {
      return quotient((image * target).sum(1), norm);
    }
  };
  const Fit fit_mean(on, s);
  std::vector<Fit> fits;
  fits.reserve(static_cast<std::size_t>(signs.size(0)));
  for (std::int64_t o = 0; o < signs.size(0); ++o) fits.emplace_back(signs[o], s);
  for (int i = 0; i < iterations; ++i) {
    Tensor sum = (terms.scale.unsqueeze(2) * signs).sum(0);
    terms.mean = fit_mean(masked - sum);
    for (std::size_t o = 0; o < fits.size(); ++o) {
      terms.scale[static_cast<std::int64_t>(o)] =
          fits[o](left_for(masked, terms, static_cast<std::int64_t>(o)) * on);
    }
  }
}

}  // namespace onebit::quant
