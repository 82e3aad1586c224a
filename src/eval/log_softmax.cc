#include "eval/log_softmax.h"

#include <algorithm>
#include <cmath>

#include "eval/vector_exp.h"

namespace onebit::eval {
namespace {

// Values whose maximum is found before anyone asks where it is.
constexpr std::size_t kBlock = 128;

/// The greatest value's first place, and whether all are finite.
LogSumExp find_top(std::span<const float> logits) noexcept {
  Float4 differences[2] = {};  // sums of z - z: 0 until one z is infinite or NaN
  float best = logits[0];
  std::size_t block = 0;  // where the best is first
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, logits.size());
    Float4 largest[2] = {{best, best, best, best}, {best, best, best, best}};
    std::size_t i = begin;
    for (; i + 8 <= end; i += 8) {
      const Float4 z0 = load4(&logits[i]);
      const Float4 z1 = load4(&logits[i] + 4);
      differences[0] += z0 - z0;
      differences[1] += z1 - z1;
      largest[0] = max4(z0, largest[0]);
      largest[1] = max4(z1, largest[1]);
    }
    const Float4 lanes = max4(largest[0], largest[1]);
    float top = best;
    for (int lane = 0; lane < 4; ++lane) top = std::max(top, lanes[lane]);
    for (; i < end; ++i) {
      differences[0][0] += logits[i] - logits[i];
      top = std::max(top, logits[i]);
    }
    if (top > best) {
      best = top;
      block = begin;
    }
  }
  LogSumExp result;
  const Float4 sums = differences[0] + differences[1];
  for (int lane = 0; lane < 4; ++lane) result.finite = result.finite && sums[lane] == 0;
  if (!result.finite) return result;
  result.top = block;
  while (logits[result.top] != best) ++result.top;
  return result;
}

}  // namespace

LogSumExp log_sum_exp(std::span<const float> logits) noexcept {
  LogSumExp result = find_top(logits);
  if (!result.finite) return result;
  const float max = logits[result.top];
  Double4 sums = {};
  std::size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) accumulate(sums, exp4(load4(&logits[i]) - max));
  for (; i < logits.size(); ++i) sums[0] += exp1(logits[i] - max);
  result.value = max + std::log(total(sums));
  return result;
}

}  // namespace onebit::eval
