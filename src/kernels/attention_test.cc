// Attention of every instruction set and stored type against double precision, and what must not
// change its results; how keys and values are stored.
#include <algorithm>
#include <bit>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/kv_blocks.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16, KvType::kQ8_0};
constexpr std::int64_t kDims[] = {1, 8, 15, 16, 33, 64, 80, 128};

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelSet* set : available_kernels()) names.emplace_back(set->name);
  return names;
}

Attend attend_of(const KernelSet& k, KvType type) {
  return type == KvType::kF32 ? k.attend_f32 : type == KvType::kF16 ? k.attend_f16 : k.attend_q8_0;
}

/// Keys and values of one head; unused positions hold NaN, as memory may.
class Head {
 public:
  Head(const KernelSet& k, Rng& rng, KvType type, std::int64_t dim, std::int64_t positions)
      : layout_{type, dim},
        keys_(blocks(positions) * size(layout_.key_bytes()), std::byte{0xFF}),
        values_(blocks(positions) * size(layout_.value_bytes()), std::byte{0xFF}) {
    for (std::int64_t p = 0; p < positions; ++p) {
      const std::vector<float> key = random_floats(rng, dim);
      const std::vector<float> value = random_floats(rng, dim);
      layout_.store(k, p % kKvBlock, key.data(), value.data(), key_block(p), value_block(p));
    }
    for (std::int64_t p = 0; p < positions; ++p) {
      keys.emplace_back(size(dim));
      values.emplace_back(size(dim));
      layout_.load(p % kKvBlock, key_block(p), value_block(p), keys.back().data(),
                   values.back().data());
    }
  }

  KvHead view() const { return {keys_.data(), values_.data(), layout_.dim}; }
  std::byte* key_block(std::int64_t p) { return keys_.data() + p / kKvBlock * layout_.key_bytes(); }
  std::byte* value_block(std::int64_t p) {
    return values_.data() + p / kKvBlock * layout_.value_bytes();
  }
  const KvLayout& layout() const { return layout_; }

  std::vector<std::vector<float>> keys;  ///< as stored
  std::vector<std::vector<float>> values;

 private:
  static std::size_t blocks(std::int64_t positions) {
    return size((positions + kKvBlock - 1) / kKvBlock);
  }

  KvLayout layout_;
  std::vector<std::byte> keys_;
  std::vector<std::byte> values_;
};

struct Result {
  std::vector<double> out;
  double bound = 0;
};

/// One query by the definition in kernels.h.
Result reference(const Head& head, const float* q, std::int64_t seen) {
  const std::size_t dim = size(head.layout().dim);
  std::vector<double> scores;
  double magnitudes = 0;
  double largest = 0;
  for (std::int64_t p = 0; p < seen; ++p) {
    double score = 0;
    double terms = 0;
    for (std::size_t c = 0; c < dim; ++c) {
      const double product = static_cast<double>(q[c]) * head.keys[size(p)][c];
      score += product;
      terms += std::abs(product);
      largest = std::max(largest, std::abs(static_cast<double>(head.values[size(p)][c])));
    }
    scores.push_back(score);
    magnitudes = std::max(magnitudes, terms);
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  Result result{std::vector<double>(dim, 0.0)};
  double total = 0;
  for (std::int64_t p = 0; p < seen; ++p) {
    const double weight = std::exp(scores[size(p)] - maximum);
    total += weight;
    for (std::size_t c = 0; c < dim; ++c) result.out[c] += weight * head.values[size(p)][c];
  }
  for (double& v : result.out) v /= total;
  const double s = static_cast<double>(dim) * 0x1p-23 * magnitudes;
  result.bound = (2 * s + 0x1p-22 * static_cast<double>(seen)) * largest;
  return result;
}

class Attention : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelSet& k() const { return kernels_by_name(GetParam()); }

  std::vector<float> scratch_ = std::vector<float>(size(attend_scratch(160) + 16));
  float* scratch() {
    const auto at = reinterpret_cast<std::uintptr_t>(scratch_.data());
    return scratch_.data() + (64 - at % 64) % 64 / sizeof(float);
  }

  /// Against the reference; heads of a token lie side by side, tokens `stride` apart.
  void check(const Head& head, const std::vector<float>& q, const Queries& queries, Attend attend) {
    const std::int64_t dim = head.layout().dim;
    const std::int64_t stride = queries.group * dim + 3;
    const std::int64_t tokens = (queries.count - 1) / queries.group + 1;
    std::vector<float> out(size(tokens * stride), -77.25F);
    attend(head.view(), queries, scratch(), out.data(), stride);
    for (std::int64_t i = 0; i < queries.count; ++i) {
      const Result want =
          reference(head, q.data() + i * dim, queries.position + i / queries.group + 1);
      const std::int64_t at = i / queries.group * stride + i % queries.group * dim;
      for (std::int64_t c = 0; c < dim; ++c) {
        ASSERT_NEAR(out[size(at + c)], want.out[size(c)], want.bound) << "query " << i;
        out[size(at + c)] = -77.25F;
      }
    }
    for (const float v : out) ASSERT_EQ(v, -77.25F);  // nothing else was written
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, Attention, ::testing::ValuesIn(isa_names()),
                         [](const auto& isa) { return isa.param; });

TEST_P(Attention, AgainstDoublePrecision) {
  Rng rng(41);
  for (const KvType type : kTypes) {
    for (const std::int64_t dim : kDims) {
      const Head head(k(), rng, type, dim, 2 * kKvBlock + 9);
      const std::vector<float> q = random_floats(rng, kMaxQueries * dim);
      for (const std::int64_t group : {1, 3, 48}) {
        for (const std::int64_t position : {0, 62, 63, 64, 100}) {
          for (const std::int64_t count : {1, 2, 5, 6, 7, 13, 48}) {
            const std::int64_t last = position + (count - 1) / group;
            if (last >= 2 * kKvBlock + 9 || count < group % 48) continue;
            SCOPED_TRACE(testing::Message()
                         << word_of(type) << ", dim " << dim << ", group " << group << ", position "
                         << position << ", queries " << count);
            check(head, q, {q.data(), count, group, position}, attend_of(k(), type));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST_P(Attention, AQueryDoesNotDependOnTheOthers) {
  Rng rng(42);
  constexpr std::int64_t kDim = 24;
  for (const KvType type : kTypes) {
    const Head head(k(), rng, type, kDim, 2 * kKvBlock);
    const std::vector<float> q = random_floats(rng, kMaxQueries * kDim);
    constexpr std::int64_t kPosition = kKvBlock - 7;
    std::vector<float> together(size(kMaxQueries * kDim));
    const Attend attend = attend_of(k(), type);
    attend(head.view(), {q.data(), kMaxQueries, 3, kPosition}, scratch(), together.data(),
           3 * kDim);
    for (std::int64_t first = 0; first < kMaxQueries; first += 3) {
      std::vector<float> alone(size(3 * kDim));
      attend(head.view(), {q.data() + first * kDim, 3, 3, kPosition + first / 3}, scratch(),
             alone.data(), 3 * kDim);
      for (std::int64_t i = 0; i < 3 * kDim; ++i) {
        ASSERT_EQ(alone[size(i)], together[size(first * kDim + i)]) << word_of(type);
      }
    }
  }
}

/// What a query does not see is not in its result, whatever it is.
TEST_P(Attention, WhatIsHiddenMayBeAnything) {
  Rng rng(45);
  constexpr std::int64_t kDim = 24;
  constexpr std::int64_t kBad = kKvBlock + 4;
  for (const std::int64_t tokens : {2, 12}) {
    for (const float bad : {1e30F, std::nanf("")}) {
      for (const KvType type : kTypes) {
        Head head(k(), rng, type, kDim, 2 * kKvBlock);
        const std::int64_t position = kBad - tokens + 1;  // the last token alone sees it
        const std::vector<float> q = random_floats(rng, tokens * 3 * kDim);
        const std::vector<float> key(size(kDim), 0.0F);
        const auto attended = [&](float value) {
          const std::vector<float> values(size(kDim), value);
          head.layout().store(k(), kBad % kKvBlock, key.data(), values.data(), head.key_block(kBad),
                              head.value_block(kBad));
          std::vector<float> out(size(tokens * 3 * kDim));
          attend_of(k(), type)(head.view(), {q.data(), tokens * 3, 3, position}, scratch(),
                               out.data(), 3 * kDim);
          out.resize(size((tokens - 1) * 3 * kDim));
          return out;
        };
        EXPECT_EQ(attended(bad), attended(0.5F)) << word_of(type) << ", " << bad;
      }
    }
  }
}

/// Scores far apart, rising or falling from block to block: what the running maximum is for.
TEST_P(Attention, ScoresOfAnySize) {
  Rng rng(43);
  for (const float factor : {100.0F, 1e15F}) {
    Head head(k(), rng, KvType::kF32, 16, 3 * kKvBlock);
    const std::vector<float> value(16, 2.5F);
    for (std::int64_t p = 0; p < 3 * kKvBlock; ++p) {
      // The last position of every block beats all before it, but for the last block's.
      std::vector<float> key(16, 0.0F);
      if (p % kKvBlock == kKvBlock - 1) key[0] = p < 2 * kKvBlock ? static_cast<float>(p) : 1.0F;
      head.layout().store(k(), p % kKvBlock, key.data(), value.data(), head.key_block(p),
                          head.value_block(p));
    }
    std::vector<float> q(16, 0.0F);
    q[0] = factor;
    std::vector<float> out(16);
    k().attend_f32(head.view(), {q.data(), 1, 1, 3 * kKvBlock - 1}, scratch(), out.data(), 16);
    for (const float v : out) EXPECT_NEAR(v, 2.5F, 1e-6F);
  }
}

TEST_P(Attention, ANanShows) {
  Rng rng(44);
  for (const KvType type : kTypes) {
    for (const bool in_key : {false, true}) {
      Head head(k(), rng, type, 16, kKvBlock);
      std::vector<float> bad(16, 1.0F);
      bad[3] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> good(16, 1.0F);
      head.layout().store(k(), 5, in_key ? bad.data() : good.data(),
                          in_key ? good.data() : bad.data(), head.key_block(0),
                          head.value_block(0));
      const std::vector<float> q = random_floats(rng, 16);
      std::vector<float> out(16);
      attend_of(k(), type)(head.view(), {q.data(), 1, 1, 20}, scratch(), out.data(), 16);
      EXPECT_TRUE(std::isnan(out[3])) << word_of(type) << in_key;
      attend_of(k(), type)(head.view(), {q.data(), 1, 1, 4}, scratch(), out.data(), 16);
      EXPECT_TRUE(std::isfinite(out[3])) << word_of(type) << in_key;
    }
  }
}

TEST_P(Attention, ToF16IsTheReferences) {
  Rng rng(45);
  for (const std::int64_t n : {1, 7, 8, 15, 16, 17, 64, 129}) {
    std::vector<float> x = random_floats(rng, n);
    for (std::size_t i = 0; i < x.size(); i += 3) x[i] *= 1e-6F;  // subnormal there
    x[0] = 65520;                                                 // rounds to infinity
    std::vector<f16_bits> y(size(n + 1), 0x1234);
    k().to_f16(x.data(), y.data(), n);
    for (std::int64_t i = 0; i < n; ++i) EXPECT_EQ(y[size(i)], f32_to_f16(x[size(i)]));
    EXPECT_EQ(y.back(), 0x1234);
  }
}

TEST(KvLayout, WhatIsStoredIsRead) {
  const KernelSet& k = best_kernels();
  Rng rng(46);
  for (const KvType type : kTypes) {
    for (const std::int64_t dim : {1, 16, 33, 300}) {
      SCOPED_TRACE(testing::Message() << word_of(type) << " " << dim);
      const KvLayout layout{type, dim};
      EXPECT_EQ(layout.key_bytes() % 64, 0);
      EXPECT_EQ(layout.value_bytes() % 64, 0);
      std::vector<std::byte> keys(size(layout.key_bytes()));
      std::vector<std::byte> values(size(layout.value_bytes()));
      std::vector<std::vector<float>> rows;
      for (std::int64_t slot = 0; slot < kKvBlock; ++slot) {
        rows.push_back(random_floats(rng, 2 * dim));
        layout.store(k, slot, rows.back().data(), rows.back().data() + dim, keys.data(),
                     values.data());
      }
      for (std::int64_t slot = 0; slot < kKvBlock; ++slot) {
        std::vector<float> read(size(2 * dim));
        layout.load(slot, keys.data(), values.data(), read.data(), read.data() + dim);
        for (std::int64_t i = 0; i < 2 * dim; ++i) {
          const float x = rows[size(slot)][size(i)];
          // The group's largest is below 3; half a step of 1/127 of it, and d's rounding to bf16.
          const double bound = type == KvType::kF32   ? 0
                               : type == KvType::kF16 ? std::abs(x) * 0x1p-11 + 0x1p-25
                                                      : 3.0 / 127 * 0.5 * (1 + 0x1p-7);
          ASSERT_NEAR(read[size(i)], x, bound);
        }
      }
    }
  }
}

TEST(KvLayout, Q8_0OfExtremes) {
  const KvLayout layout{KvType::kQ8_0, 4};
  std::vector<std::byte> keys(size(layout.key_bytes()));
  std::vector<std::byte> values(size(layout.value_bytes()));
  const auto stored = [&](const std::vector<float>& x) {
    std::vector<float> key(4);
    std::vector<float> value(4);
    layout.store(best_kernels(), 0, x.data(), x.data(), keys.data(), values.data());
    layout.load(0, keys.data(), values.data(), key.data(), value.data());
    EXPECT_EQ(std::bit_cast<std::uint32_t>(key[0]), std::bit_cast<std::uint32_t>(value[0]));
    return value;
  };
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(stored({0, -0.0F, 0, 0}), std::vector<float>(4, 0.0F));
  EXPECT_EQ(stored({1e-39F, 0, 0, 0}), std::vector<float>(4, 0.0F));
  EXPECT_EQ(stored({-127, 1, 2.5F, 3.5F}), (std::vector<float>{-127, 1, 2, 4}));  // ties to even
  for (const float size : {1e-30F, 1e-7F, 1e-4F, 1.0F, 1e38F}) {
    const std::vector<float> read = stored({size, -0.7F * size, 0.3F * size, 0});
    EXPECT_NEAR(read[0] / size, 1, 0.5 / 127 * (1 + 0x1p-7)) << size;
    EXPECT_NEAR(read[1] / size, -0.7, 0.5 / 127 * (1 + 0x1p-7)) << size;
    EXPECT_NEAR(read[2] / size, 0.3, 0.5 / 127 * (1 + 0x1p-7)) << size;
  }
  EXPECT_TRUE(std::isnan(stored({1, inf, 0, 0})[0]));
  EXPECT_TRUE(std::isnan(stored({1, std::nanf(""), 0, 0})[2]));
}

}  // namespace
}  // namespace onebit::kernels
