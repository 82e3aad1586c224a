// What the kernel tests, the fuzzer and the benches share: weights of every type with their values
// in f32, so that one reference serves all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/rng.h"
#include "formats/ggml_blocks.h"
#include "formats/sign1.h"
#include "kernels/kernels.h"

namespace onebit::kernels {

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Roughly normal (sum of three uniforms), mean 0, standard deviation 1.
inline float random_float(Rng& rng) {
  return static_cast<float>(2.0 * (rng.uniform() + rng.uniform() + rng.uniform() - 1.5));
}

inline std::vector<float> random_floats(Rng& rng, std::int64_t n) {
  std::vector<float> v(size(n));
  for (float& x : v) x = random_float(rng);
  return v;
}

/// int8 activations in [-127, 127], each of the `rows` rows padded with zeros to `ld`.
inline std::vector<std::int8_t> random_int8(Rng& rng, std::int64_t rows, std::int64_t n,
                                            std::int64_t ld) {
  std::vector<std::int8_t> q(size(rows * ld), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < n; ++i) {
      q[size(r * ld + i)] = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
    }
  }
  return q;
}

/// Int8 activations of `tokens` tokens with random scales.
struct RandomInt8 {
  RandomInt8(Rng& rng, std::int64_t tokens, std::int64_t cols)
      : q(random_int8(rng, tokens, cols, QuantizedRows::stride(cols))),
        scales(random_floats(rng, tokens * QuantizedRows::blocks(cols))) {}

  QuantizedRows rows() const { return {q.data(), scales.data()}; }

  std::vector<std::int8_t> q;
  std::vector<float> scales;
};

/// A random S with zero padding bits.
struct RandomSigns {
  RandomSigns(Rng& rng, std::int64_t rows, std::int64_t cols)
      : words(size(rows * formats::sign1_row_words(cols))), view{words.data(), rows, cols} {
    const std::int64_t n = formats::sign1_row_words(cols);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < n; ++i) words[size(r * n + i)] = rng.next();
      if (cols % 64 != 0) words[size(r * n + n - 1)] &= (1ULL << (cols % 64)) - 1;
    }
  }

  /// -1 or +1.
  int at(std::int64_t r, std::int64_t c) const {
    return ((view.row(r)[c / 64] >> (c % 64)) & 1U) != 0 ? -1 : 1;
  }

  std::vector<std::uint64_t> words;
  formats::Sign1View view;
};

/// Dense weights of stored type W: `stored` as a kernel takes them, `values` [rows, in] in f32 as
/// the type's definition gives them.
template <class W>
struct DenseMatrix {
  std::vector<W> stored;
  std::vector<float> values;
};

enum class DenseType : std::uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_1 };

inline void make_dense(Rng& rng, std::int64_t n, DenseMatrix<float>& m) {
  m.values = random_floats(rng, n);
  m.stored = m.values;
}

inline f16_bits random_scale(Rng& rng) { return f32_to_f16(random_float(rng) * 0.02F); }

inline void make_dense(Rng& rng, std::int64_t n, DenseMatrix<formats::BlockQ8_0>& m) {
  m.stored.resize(size(n / formats::kQuantBlock));
  for (formats::BlockQ8_0& b : m.stored) {
    b.d = random_scale(rng);
    for (std::int8_t& q : b.qs) {
      q = static_cast<std::int8_t>(rng.below(256));
      m.values.push_back(f16_to_f32(b.d) * static_cast<float>(q));
    }
  }
}

inline void make_dense(Rng& rng, std::int64_t n, DenseMatrix<formats::BlockQ4_0>& m) {
  m.stored.resize(size(n / formats::kQuantBlock));
  for (formats::BlockQ4_0& b : m.stored) {
    b.d = random_scale(rng);
    for (std::uint8_t& q : b.qs) q = static_cast<std::uint8_t>(rng.below(256));
    for (int i = 0; i < 32; ++i) {
      const int q = i < 16 ? b.qs[i] % 16 : b.qs[i - 16] / 16;
      m.values.push_back(f16_to_f32(b.d) * static_cast<float>(q - 8));
    }
  }
}

inline void make_dense(Rng& rng, std::int64_t n, DenseMatrix<formats::BlockQ4_1>& m) {
  m.stored.resize(size(n / formats::kQuantBlock));
  for (formats::BlockQ4_1& b : m.stored) {
    b.d = random_scale(rng);
    b.m = random_scale(rng);
    for (std::uint8_t& q : b.qs) q = static_cast<std::uint8_t>(rng.below(256));
    for (int i = 0; i < 32; ++i) {
      const int q = i < 16 ? b.qs[i] % 16 : b.qs[i - 16] / 16;
      m.values.push_back(f16_to_f32(b.d) * static_cast<float>(q) + f16_to_f32(b.m));
    }
  }
}

/// f16 and bf16 are both 16-bit integers: the type says which.
inline void make_dense16(Rng& rng, std::int64_t n, DenseType type, DenseMatrix<std::uint16_t>& m) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = random_float(rng);
    const bool f16 = type == DenseType::kF16;
    m.stored.push_back(f16 ? f32_to_f16(v) : f32_to_bf16(v));
    m.values.push_back(f16 ? f16_to_f32(m.stored.back()) : bf16_to_f32(m.stored.back()));
  }
}

}  // namespace onebit::kernels
