// What a packed model does to the inputs of its quantised matrices, and to keys and values, before
// it multiplies them: methods that train with rounded activations are run with the same.
#pragma once

#include <cstdint>

#include "base/words.h"

namespace onebit::arch {

/// Of each token's x before it is rounded. Neither has parameters; epsilon is the model's norm_eps.
enum class InputNorm : std::uint8_t {
  kNone,
  kLayer,  ///< (x - mean) / √(variance + ε): BitNet, arXiv 2310.11453
  kRms,    ///< x / √(mean(x²) + ε): BitNet b1.58, arXiv 2402.17764
};

/// How N bits stand for the numbers of a row, half to even.
enum class Rounding : std::uint8_t {
  /// a · round(x / a), a = max |x| / (2^(N-1) - 1), max |x| at least 10^-5. Of a token's keys and
  /// values all heads together, keys before they are rotated: LLM-QAT, arXiv 2305.17888.
  kAbsMax,
  /// s · (clamp(round(x / s) + z, 0, 2^N - 1) - z), s = (max x - min x) / (2^N - 1) within
  /// 10^-5 … 10^4, z = round(-min x / s). Of queries, keys (both rotated) and values a head at a
  /// time: OmniQuant, arXiv 2308.13137.
  kMinMax,
};

struct ActivationRule {
  InputNorm norm = InputNorm::kNone;
  Rounding rounding = Rounding::kAbsMax;
  int bits = kExact;     ///< of inputs: 2 to 8, or kExact: not rounded
  int kv_bits = kExact;  ///< of keys and values (and queries where rounding is kMinMax)

  static constexpr int kExact = 16;
  static constexpr int kMostBits = 8;

  bool changes_inputs() const noexcept { return norm != InputNorm::kNone || bits != kExact; }
  friend bool operator==(const ActivationRule&, const ActivationRule&) = default;
};

}  // namespace onebit::arch

namespace onebit {

template <>
struct Words<arch::InputNorm> {
  static constexpr Word<arch::InputNorm> kAll[] = {{arch::InputNorm::kNone, "none"},
                                                   {arch::InputNorm::kLayer, "layer"},
                                                   {arch::InputNorm::kRms, "rms"}};
};

template <>
struct Words<arch::Rounding> {
  static constexpr Word<arch::Rounding> kAll[] = {{arch::Rounding::kAbsMax, "absmax"},
                                                  {arch::Rounding::kMinMax, "minmax"}};
};

}  // namespace onebit
