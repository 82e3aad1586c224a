#include "quant/arb_solver.h"

#include <vector>

#include "base/check.h"
#include "quant/binarization.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

/// [rows, columns], 1 for +1.
Tensor bit_of(const Tensor& sign) { return (sign > 0).to(torch::kInt64); }

double sign_of_bit(int bit) { return bit != 0 ? 1.0 : -1.0; }

class Solver {
 public:
  /// `h` before dead columns are treated.
  Solver(const Tensor& h, const Tensor& factor, const ArbOptions& options, GroupedCodes& codes)
      : options_(options), inputs_(h), factor_(factor), codes_(codes) {}

  /// Chooses, stores and gives back what stands for a block's weights.
  Tensor quantise(const Tensor& w, std::int64_t begin) {
    const auto square = [&](const Tensor& t) {
      return t.narrow(0, begin, w.size(1)).narrow(1, begin, w.size(1));
    };
    moment_ = square(inputs_);
    const Tensor s = saliency(w, square(factor_));
    const Tensor columns = salient_columns(s);
    const Tensor salient = columns.unsqueeze(0).expand_as(w);
    const Tensor large = split(s, salient);
    const RefinedTerms both = refined(w, salient, 2);
    const RefinedTerms more = refined(w, large, 1);
    const RefinedTerms less = refined(w, ~salient & ~large, 1);

    const Tensor of_salient =
        store(columns, begin, bit_of(both.sign[0]) + 2 * bit_of(both.sign[1]), both);
    const Tensor sign = torch::where(large, bit_of(more.sign[0]), bit_of(less.sign[0]));
    const Tensor of_others = store(~columns, begin, sign + 2 * large.to(torch::kInt64), less, more);
    return torch::where(salient, of_salient, of_others);
  }

 private:
  RefinedTerms refined(const Tensor& w, const Tensor& mask, int order) const {
    if (options_.refinement != Refinement::kInputs) {
      return refine(options_.refinement, w, mask, order);
    }
    RefinedTerms terms = refine(Refinement::kPlain, w, mask, order);
    fit_to_inputs(terms, w, mask, moment_);
    return terms;
  }

  /// The large ones of those that are not salient.
  Tensor split(const Tensor& s, const Tensor& salient) const {
    const bool products = options_.refinement == Refinement::kRowsColumns;
    const Tensor left =
        s - refine(products ? Refinement::kRowsColumns : Refinement::kPlain, s, salient, 2)
                .value(salient);
    return large_weights(s, ~salient, [&](const Tensor& large, const Tensor& small) {
      const Tensor d = left - binarise(s, large, 1).value - binarise(s, small, 1).value;
      if (options_.refinement != Refinement::kInputs) return mean_square(d);
      return (d.matmul(moment_) * d).sum().item<double>();
    });
  }

  /// Salient columns: each bit of a code is the sign of one term.
  Tensor store(const Tensor& columns, std::int64_t begin, const Tensor& codes,
               const RefinedTerms& terms) {
    if (terms.column_scale.defined()) {
      return codes_.add(columns, begin, codes, arch::ProductKind::kSum, terms.scale,
                        terms.column_scale);
    }
    std::vector<Tensor> levels;
    levels.reserve(4);
    for (int code = 0; code < 4; ++code) {
      levels.push_back(terms.mean + terms.scale[0] * sign_of_bit(code % 2) +
                       terms.scale[1] * sign_of_bit(code / 2));
    }
    return codes_.add(columns, begin, codes, torch::stack(levels, 1));
  }

  /// Other columns: the upper bit says which part a weight is of, the lower one is its sign.
  Tensor store(const Tensor& columns, std::int64_t begin, const Tensor& codes,
               const RefinedTerms& small, const RefinedTerms& large) {
    if (small.column_scale.defined()) {
      return codes_.add(columns, begin, codes, arch::ProductKind::kOneOf,
                        torch::cat({small.scale, large.scale}),
                        torch::cat({small.column_scale, large.column_scale}));
    }
    std::vector<Tensor> levels;
    levels.reserve(4);
    for (const RefinedTerms* terms : {&small, &large}) {
      levels.push_back(terms->mean - terms->scale[0]);
      levels.push_back(terms->mean + terms->scale[0]);
    }
    return codes_.add(columns, begin, codes, torch::stack(levels, 1));
  }

  const ArbOptions& options_;
  Tensor inputs_;  ///< S of all columns, times a number
  Tensor factor_;  ///< U
  Tensor moment_;  ///< S of the block
  GroupedCodes& codes_;
};

}  // namespace

arch::CodeSpec arb_spec(std::int64_t in, const ArbOptions& options) {
  arch::CodeSpec spec = table_spec(in, options.block);
  spec.products = options.refinement == Refinement::kRowsColumns;
  spec.tables = !spec.products;
  return spec;
}

ArbResult arb(std::span<const float> w, std::int64_t out, std::int64_t in, const Tensor& h,
              const ArbOptions& options, const std::stop_token& stop) {
  ONEBIT_CHECK(options.block > 0);
  Problem problem = problem_of(w, out, in, h, options.damping);
  GroupedCodes codes(out, in, block_groups(in, options.block), options.scales);
  Solver solver(h, problem.factor, options, codes);
  quantise_blocks(
      problem.weights, problem.factor, options.block, stop,
      [&](const Tensor& part, std::int64_t begin) { return solver.quantise(part, begin); });
  return {codes.finish(), problem.weights};
}

}  // namespace onebit::quant
