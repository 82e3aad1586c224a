#include "eval/python_random.h"

#include <bit>
#include <numeric>
#include <unordered_set>

#include "base/check.h"

namespace onebit::eval {

PythonRandom::PythonRandom(std::uint64_t seed) {
  state_[0] = 19650218U;
  for (std::uint32_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30U)) + i;
  }
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(seed),
                                            static_cast<std::uint32_t>(seed >> 32U)};
  const std::uint32_t words = key[1] == 0 ? 1 : 2;
  std::size_t i = 1;
  // Steps to the word after the i-th, past the end to the second.
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (std::uint32_t step = 0; step < kWords; ++step) {
    const std::uint32_t j = step % words;
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30U)) * 1664525U)) + key[j] + j;
    advance();
  }
  for (std::uint32_t step = 1; step < kWords; ++step) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30U)) * 1566083941U)) -
                static_cast<std::uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

std::uint32_t PythonRandom::next() {
  if (used_ == kWords) {
    for (std::size_t i = 0; i < kWords; ++i) {
      const std::uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kWords] & 0x7fffffffU);
      state_[i] = state_[(i + 397) % kWords] ^ (y >> 1U) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
    }
    used_ = 0;
  }
  std::uint32_t y = state_[used_++];
  y ^= y >> 11U;
  y ^= (y << 7U) & 0x9d2c5680U;
  y ^= (y << 15U) & 0xefc60000U;
  return y ^ (y >> 18U);
}

std::size_t PythonRandom::below(std::size_t bound) {
  const auto bits = static_cast<unsigned>(std::bit_width(bound));
  std::size_t value = next() >> (32U - bits);
  while (value >= bound) value = next() >> (32U - bits);
  return value;
}

std::vector<std::size_t> PythonRandom::sample(std::size_t population, std::size_t count) {
  ONEBIT_CHECK(count <= population && population <= 0xffffffffU);
  // CPython keeps a list of what is left, or a set of what is taken, whichever is thought smaller.
  std::size_t set_size = 21;
  if (count > 5) {
    std::size_t table = 1;
    while (table < 3 * count) table *= 4;
    set_size += table;
  }
  std::vector<std::size_t> result;
  result.reserve(count);
  if (population <= set_size) {
    std::vector<std::size_t> left(population);
    std::iota(left.begin(), left.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t j = below(population - i);
      result.push_back(left[j]);
      left[j] = left[population - i - 1];
    }
    return result;
  }
  std::unordered_set<std::size_t> taken;
  while (result.size() < count) {
    const std::size_t j = below(population);
    if (taken.insert(j).second) result.push_back(j);
  }
  return result;
}

}  // namespace onebit::eval
