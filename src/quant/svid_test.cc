// SVID against what is known exactly, and NMF against SVD (which agree at rank 1). The comparison
// with scikit-learn and numpy on every matrix of a real model is tools/accept/svid.py.
#include "quant/svid.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace onebit::quant {
namespace {

using ::testing::HasSubstr;

std::vector<float> random_matrix(std::int64_t out, std::int64_t in, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> w(static_cast<std::size_t>(out * in));
  for (float& v : w) {  // a sum of uniforms: bell-shaped, as trained weights are
    v = static_cast<float>(rng.uniform() + rng.uniform() + rng.uniform() - 1.5);
  }
  return w;
}

double rms(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * x;
  return std::sqrt(sum / static_cast<double>(v.size()));
}

TEST(Svid, RankOneMagnitudesAreFoundExactly) {
  ThreadPool pool(2);
  for (const Init init : {Init::kNmf, Init::kSvd}) {
    const std::vector<float> h = {0.5F, 2.0F, 1.0F};
    const std::vector<float> g = {1.0F, 3.0F, 0.25F, 0.0F, 4.0F};
    std::vector<float> w;
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 5; ++c)
        w.push_back(h[r] * g[c] * ((r + c) % 2 == 0 ? 1.0F : -1.0F));
    }
    const SvidResult result = svid(w, 3, 5, {init, Split::kRms}, pool);
    EXPECT_LT(result.relative_error, 1e-12);
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 5; ++c) {
        EXPECT_NEAR(result.h[r] * result.g[c], h[r] * g[c], 1e-6 * h[r] * g[c] + 1e-12);
      }
    }
  }
}

TEST(Svid, NmfAndSvdReachTheSameErrorAtEverySize) {
  ThreadPool pool(2);
  for (const auto& [out, in] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {1, 7}, {7, 1}, {2, 2}, {33, 65}, {64, 576}, {576, 192}}) {
    const auto w = random_matrix(out, in, static_cast<std::uint64_t>(out * 1000 + in));
    const SvidResult nmf = svid(w, out, in, {Init::kNmf, Split::kRms}, pool);
    const SvidResult lanczos = svid(w, out, in, {Init::kSvd, Split::kRms}, pool);
    EXPECT_NEAR(nmf.relative_error, lanczos.relative_error, 1e-9) << out << "x" << in;
    EXPECT_LT(nmf.relative_error, 1.0);
    const SvidResult copy = svid(w, out, in, {Init::kCopy, Split::kRms}, pool);
    EXPECT_GE(copy.relative_error, nmf.relative_error);
    EXPECT_THAT(copy.g, ::testing::Each(1.0F));
    EXPECT_THAT(copy.h, ::testing::Each(1.0F));
  }
}

TEST(Svid, SplitsShareTheScaleAsNamedAndKeepTheProduct) {
  ThreadPool pool(1);
  const auto w = random_matrix(24, 96, 5);
  const SvidResult balanced = svid(w, 24, 96, {Init::kNmf, Split::kBalanced}, pool);
  const SvidResult equal_rms = svid(w, 24, 96, {Init::kNmf, Split::kRms}, pool);
  const SvidResult in = svid(w, 24, 96, {Init::kNmf, Split::kIn}, pool);
  const SvidResult out = svid(w, 24, 96, {Init::kNmf, Split::kOut}, pool);
  EXPECT_NEAR(rms(balanced.g) * std::sqrt(96.0), rms(balanced.h) * std::sqrt(24.0), 1e-5);
  EXPECT_NEAR(rms(equal_rms.g), rms(equal_rms.h), 1e-6);
  EXPECT_NEAR(rms(in.h), 1.0, 1e-6);
  EXPECT_NEAR(rms(out.g), 1.0, 1e-6);
  for (const SvidResult* other : {&balanced, &in, &out}) {
    EXPECT_NEAR(other->relative_error, equal_rms.relative_error, 1e-7);
  }
}

TEST(Svid, ZeroMatrixAndZeroRows) {
  ThreadPool pool(1);
  const SvidResult zero = svid(std::vector<float>(12, 0.0F), 3, 4, {}, pool);
  EXPECT_THAT(zero.g, ::testing::Each(1.0F));
  EXPECT_THAT(zero.h, ::testing::Each(0.0F));
  EXPECT_EQ(zero.relative_error, 0.0);

  std::vector<float> w = random_matrix(3, 4, 9);
  std::fill(w.begin() + 4, w.begin() + 8, 0.0F);
  for (const Init init : {Init::kNmf, Init::kSvd}) {
    const SvidResult result = svid(w, 3, 4, {init, Split::kRms}, pool);
    EXPECT_EQ(result.h[1], 0.0F);
    EXPECT_LT(result.relative_error, 0.5);
  }
}

/// Σ ‖|W| − Ŵ‖² of what svid_shared() returned.
double square_error(const SharedSvidResult& result) {
  double sum = 0;
  for (const auto& part : result.parts) sum += part.relative_error * part.square_norm;
  return sum;
}

// Matrices that share g are one matrix; tied columns are one column.
TEST(SharedSvid, IsTheSvidOfTheStackedMatrix) {
  ThreadPool pool(2);
  const auto w = random_matrix(40, 24, 3);
  const std::span<const float> all(w);
  const SharedSvid two = {
      .parts = {{all.first(16 * 24), 16}, {all.subspan(16 * 24), 24}}, .in = 24, .tie = {}};
  const SvidResult stacked = svid(w, 40, 24, {}, pool);
  for (const Init init : {Init::kNmf, Init::kSvd}) {
    const SharedSvidResult result = svid_shared(two, {init, Split::kRms}, pool);
    EXPECT_NEAR(square_error(result), stacked.relative_error * stacked.square_norm, 1e-6);
    for (std::size_t j = 0; j < 24; ++j) EXPECT_NEAR(result.g[j], stacked.g[j], 1e-6);
    for (std::size_t r = 0; r < 40; ++r) {
      const auto& h = result.parts[r < 16 ? 0 : 1].h;
      EXPECT_NEAR(h[r < 16 ? r : r - 16], stacked.h[r], 1e-6);
    }
  }
}

TEST(SharedSvid, TiedColumnsShareTheirBestValue) {
  ThreadPool pool(2);
  const auto w = random_matrix(20, 12, 8);
  SharedSvid problem = {.parts = {{w, 20}}, .in = 12, .tie = {}};
  for (std::int64_t j = 0; j < 12; ++j) problem.tie.push_back(j % 4);
  const SharedSvidResult nmf = svid_shared(problem, {}, pool);
  const SharedSvidResult lanczos = svid_shared(problem, {Init::kSvd, Split::kRms}, pool);
  ASSERT_EQ(nmf.g.size(), 4U);
  EXPECT_NEAR(nmf.parts[0].relative_error, lanczos.parts[0].relative_error, 1e-9);
  // Of the error's derivative for each value nothing is left.
  const auto slope = [&](std::size_t t) {
    double sum = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double h = nmf.parts[0].h[i / 12];
      if (i % 12 % 4 == t) sum += h * (h * nmf.g[t] - std::abs(w[i]));
    }
    return sum;
  };
  for (std::size_t t = 0; t < 4; ++t) EXPECT_NEAR(slope(t), 0, 1e-5);
  EXPECT_GT(nmf.parts[0].relative_error, svid(w, 20, 12, {}, pool).relative_error);
}

// Untied groups are as many small matrices, each with its own best fit; a last partial one too.
TEST(SharedSvid, GroupsAreFittedEachByItself) {
  ThreadPool pool(2);
  constexpr std::int64_t kIn = 70;
  const auto w = random_matrix(18, kIn, 4);
  const SharedSvidResult result =
      svid_shared({.parts = {{w, 18}}, .in = kIn, .tie = {}, .group_size = 32}, {}, pool);
  ASSERT_EQ(result.parts[0].h.size(), 18U * 3);
  double expected = 0;
  for (std::int64_t first = 0; first < kIn; first += 32) {
    const std::int64_t width = std::min<std::int64_t>(32, kIn - first);
    std::vector<float> block;
    for (std::int64_t r = 0; r < 18; ++r) {
      for (std::int64_t c = 0; c < width; ++c) {
        block.push_back(w[static_cast<std::size_t>(r * kIn + first + c)]);
      }
    }
    const SvidResult one = svid(block, 18, width, {}, pool);
    expected += one.relative_error * one.square_norm;
  }
  EXPECT_NEAR(square_error(result), expected, 1e-6 * expected);
  EXPECT_THROW(svid_shared({.parts = {{w, 18}}, .in = kIn, .tie = {}, .group_size = 32},
                           {Init::kSvd, Split::kRms}, pool),
               Error);
}

TEST(SharedSvid, OneGroupIsNone) {
  ThreadPool pool(1);
  const auto w = random_matrix(9, 30, 6);
  const SharedSvidResult one =
      svid_shared({.parts = {{w, 9}}, .in = 30, .tie = {}, .group_size = 30}, {}, pool);
  EXPECT_NEAR(one.parts[0].relative_error, svid(w, 9, 30, {}, pool).relative_error, 1e-9);
}

TEST(Svid, NonFiniteWeightIsNamed) {
  ThreadPool pool(1);
  std::vector<float> w(12, 1.0F);
  w[7] = std::numeric_limits<float>::quiet_NaN();
  try {
    svid(w, 3, 4, {}, pool);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNumeric);
    EXPECT_THAT(error.what(), HasSubstr("weight [1, 3]"));
  }
}

}  // namespace
}  // namespace onebit::quant
