// Random numbers that are the same on every machine and standard library: std::mt19937_64 is
// specified exactly, the std distributions are not, so the conversions are ours.
#pragma once

#include <cstdint>
#include <random>

namespace onebit {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t next() { return engine_(); }

  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

  /// Uniform in [0, bound), bound > 0, unbiased.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % bound + 1) % bound;
    std::uint64_t value = engine_();
    while (value > limit) value = engine_();
    return value % bound;
  }

  /// The engine itself, for its textual state (operator<< and >>).
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace onebit
