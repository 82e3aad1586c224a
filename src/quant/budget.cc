#include "quant/budget.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "base/check.h"
#include "base/error.h"

namespace onebit::quant {
namespace {

/// What one byte more saves by going from one choice to another.
double saved_a_byte(const Choice& from, const Choice& to) {
  return (from.cost - to.cost) / static_cast<double>(to.bytes - from.bytes);
}

/// The smallest choice; of equally small ones the cheapest.
std::size_t smallest(const std::vector<Choice>& choices) {
  ONEBIT_CHECK(!choices.empty());
  const auto less = [](const Choice& a, const Choice& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.cost < b.cost;
  };
  return static_cast<std::size_t>(std::min_element(choices.begin(), choices.end(), less) -
                                  choices.begin());
}

/// The best step from a choice within so many more bytes: along the hull the steepest is the next.
struct Step {
  std::size_t to = 0;
  double rate = 0;  ///< 0: none
};

Step best_step(const std::vector<Choice>& choices, std::size_t from, std::uint64_t room) {
  Step best;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].bytes <= choices[from].bytes || choices[i].bytes - choices[from].bytes > room) {
      continue;
    }
    const double rate = saved_a_byte(choices[from], choices[i]);
    const bool further =
        rate == best.rate && best.rate > 0 && choices[i].bytes > choices[best.to].bytes;
    if (rate > best.rate || further) best = {i, rate};
  }
  return best;
}

}  // namespace

std::vector<std::size_t> share_budget(std::span<const std::vector<Choice>> matrices,
                                      std::uint64_t budget) {
  std::vector<std::size_t> chosen;
  chosen.reserve(matrices.size());
  std::uint64_t bytes = 0;
  for (const std::vector<Choice>& choices : matrices) {
    chosen.push_back(smallest(choices));
    bytes += choices[chosen.back()].bytes;
  }
  if (bytes > budget) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("budget: found {} bytes for the matrices, expected at least {}, what "
                            "their smallest settings take",
                            budget, bytes));
  }
  while (true) {
    std::size_t matrix = matrices.size();
    Step best;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
      const Step step = best_step(matrices[m], chosen[m], budget - bytes);
      if (step.rate > best.rate) {
        best = step;
        matrix = m;
      }
    }
    if (matrix == matrices.size()) return chosen;
    bytes += matrices[matrix][best.to].bytes - matrices[matrix][chosen[matrix]].bytes;
    chosen[matrix] = best.to;
  }
}

}  // namespace onebit::quant
