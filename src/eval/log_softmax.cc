#include "eval/log_softmax.h"

#include <cmath>

#include "eval/vector_exp.h"

namespace onebit::eval {

LogSumExp log_sum_exp(std::span<const float> logits) noexcept {
  LogSumExp result;
  result.top = first_greatest<Float4>(logits);
  const float max = logits[result.top];
  Sum4 sum;
  Float4 differences = {};  // sums of z - z: 0 until one z is infinite or NaN
  const auto term = [&](std::size_t i) {
    const Float4 z = load4(&logits[i]);
    differences += z - z;
    return exp4(z - max);
  };
  std::size_t i = 0;
  for (; i + 16 <= logits.size(); i += 16) {
    const Float4 first = term(i) + term(i + 4);
    sum.add(first + (term(i + 8) + term(i + 12)));
  }
  for (; i < logits.size(); ++i) {
    differences[0] += logits[i] - logits[i];
    sum.add(exp1(logits[i] - max));
  }
  result.finite = (differences[0] + differences[1]) + (differences[2] + differences[3]) == 0;
  result.value = max + std::log(sum.total());
  return result;
}

}  // namespace onebit::eval
