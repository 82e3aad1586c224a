#include "runtime/activations.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace onebit::runtime {
namespace {

using arch::ActivationRule;
using arch::InputNorm;
using arch::Rounding;

/// Below this no row's steps are formed: BitNet's bound on max |x|.
constexpr float kLeastMax = 1e-5F;

void norm_row(InputNorm norm, double eps, const float* x, std::int64_t n, float* y) noexcept {
  double mean = 0;
  if (norm == InputNorm::kLayer) {
    for (std::int64_t i = 0; i < n; ++i) mean += x[i];
    mean /= static_cast<double>(n);
  }
  double square = 0;
  for (std::int64_t i = 0; i < n; ++i) square += (x[i] - mean) * (x[i] - mean);
  const double factor = 1 / std::sqrt(square / static_cast<double>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) y[i] = static_cast<float>((x[i] - mean) * factor);
}

/// To multiples of the step that it gives back.
float round_to_steps(int bits, float* x, std::int64_t n) noexcept {
  const auto most = static_cast<float>((1 << (bits - 1)) - 1);
  constexpr float kMost = std::numeric_limits<float>::max();
  float largest = 0;
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    largest = std::max(largest, std::abs(x[i]));
    finite = finite && std::abs(x[i]) <= kMost;
  }
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  if (largest == 0) return 0;
  const float step = std::max(largest, kLeastMax) / most;
  for (std::int64_t i = 0; i < n; ++i) x[i] = std::nearbyint(x[i] / step) * step;
  return step;
}

void round_to_range(int bits, float* x, std::int64_t n) noexcept {
  constexpr float kLeastStep = 1e-5F;
  constexpr float kMostSteps = 1e4F;
  const auto most = static_cast<float>((1 << bits) - 1);
  const auto [low, high] = std::minmax_element(x, x + n);
  const float step = std::clamp((*high - *low) / most, kLeastStep, kMostSteps);
  const float zero = std::nearbyint(std::clamp(-*low / step, -kMostSteps, kMostSteps));
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = step * (std::clamp(std::nearbyint(x[i] / step) + zero, 0.0F, most) - zero);
  }
}

}  // namespace

void round_row(Rounding rounding, int bits, float* x, std::int64_t n) noexcept {
  if (rounding == Rounding::kAbsMax) {
    round_to_steps(bits, x, n);
  } else {
    round_to_range(bits, x, n);
  }
}

RoundedRow apply_rule(const ActivationRule& rule, double norm_eps, const float* x, std::int64_t n,
                      float* y) noexcept {
  if (rule.norm != InputNorm::kNone) {
    norm_row(rule.norm, norm_eps, x, n, y);
  } else if (y != x) {
    std::copy_n(x, n, y);
  }
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  if (rule.bits == ActivationRule::kExact) return {kNone};
  if (rule.rounding == Rounding::kAbsMax) return {round_to_steps(rule.bits, y, n)};
  round_to_range(rule.bits, y, n);
  return {kNone};
}

}  // namespace onebit::runtime
