// Python's random.Random: lm-eval draws few-shot examples with it, so the same seed must draw the
// same ones here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace onebit::eval {

class PythonRandom {
 public:
  /// random.Random(seed) of a whole number: MT19937, initialised from an array of the seed's 32-bit
  /// words (Matsumoto and Nishimura, 2002).
  explicit PythonRandom(std::uint64_t seed);

  /// random.sample(range(population), count), of CPython 3.11 and later. count <= population <
  /// 2^32.
  std::vector<std::size_t> sample(std::size_t population, std::size_t count);

 private:
  std::uint32_t next();
  std::size_t below(std::size_t bound);  ///< random._randbelow(bound), bound > 0

  static constexpr std::size_t kWords = 624;
  std::array<std::uint32_t, kWords> state_ = {};
  std::size_t used_ = kWords;
};

}  // namespace onebit::eval
