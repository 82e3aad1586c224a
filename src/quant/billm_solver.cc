#include "quant/billm_solver.h"

#include <vector>

#include "base/check.h"
#include "quant/binarization.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

Tensor level(const Term& term, int sign) {
  return sign != 0 ? term.mean + term.scale : term.mean - term.scale;
}

/// [rows, columns], 1 for +1.
Tensor bit_of(const Term& term) { return (term.sign > 0).to(torch::kInt64); }

/// Chooses, stores and gives back what stands for a block's weights.
Tensor quantise(const Tensor& w, std::int64_t begin, const Tensor& factor, GroupedCodes& codes) {
  const Tensor s = saliency(w, factor);
  const Tensor columns = salient_columns(s);
  const Tensor salient = columns.unsqueeze(0).expand_as(w);
  const Tensor fixed = binarise(s, salient, 2).value;
  const Tensor large = large_weights(s, ~salient, [&](const Tensor& more, const Tensor& less) {
    return mean_square(s - fixed - binarise(s, more, 1).value - binarise(s, less, 1).value);
  });
  const Binarised twice = binarise(w, salient, 2);
  const Binarised parts[] = {binarise(w, ~salient & ~large, 1), binarise(w, large, 1)};
  std::vector<Tensor> salient_levels;
  std::vector<Tensor> levels;
  salient_levels.reserve(4);
  levels.reserve(4);
  for (int code = 0; code < 4; ++code) {
    salient_levels.push_back(level(twice.terms[0], code % 2) + level(twice.terms[1], code / 2));
    levels.push_back(level(parts[code / 2].terms[0], code % 2));
  }
  const Tensor of_salient =
      codes.add(columns, begin, bit_of(twice.terms[0]) + 2 * bit_of(twice.terms[1]),
                torch::stack(salient_levels, 1));
  const Tensor sign = torch::where(large, bit_of(parts[1].terms[0]), bit_of(parts[0].terms[0]));
  const Tensor of_others =
      codes.add(~columns, begin, sign + 2 * large.to(torch::kInt64), torch::stack(levels, 1));
  return torch::where(salient, of_salient, of_others);
}

}  // namespace

arch::CodeSpec billm_spec(std::int64_t in, std::int64_t block) { return table_spec(in, block); }

BillmResult billm(std::span<const float> w, std::int64_t out, std::int64_t in, const Tensor& h,
                  const BillmOptions& options, const std::stop_token& stop) {
  ONEBIT_CHECK(options.block > 0);
  Problem problem = problem_of(w, out, in, h, options.damping);
  const Tensor& factor = problem.factor;
  GroupedCodes codes(out, in, block_groups(in, options.block), options.levels);
  quantise_blocks(
      problem.weights, factor, options.block, stop, [&](const Tensor& part, std::int64_t begin) {
        const Tensor own = factor.narrow(0, begin, part.size(1)).narrow(1, begin, part.size(1));
        return quantise(part, begin, own, codes);
      });
  return {codes.finish(), problem.weights};
}

}  // namespace onebit::quant
