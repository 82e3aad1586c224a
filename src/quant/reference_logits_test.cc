// Divergences of logits against sums in f64, at every size of a slice and around it.
#include "quant/reference_logits.h"

#include <cmath>
#include <gtest/gtest.h>
#include <torch/utils.h>

namespace onebit::quant {
namespace {

using torch::Tensor;

constexpr std::int64_t kDim = 5;
constexpr std::int64_t kVocab = 37;

struct Case {
  Tensor hidden = torch::Tensor();
  Tensor other = torch::Tensor();
  Tensor head = torch::Tensor();
  Tensor labels = torch::Tensor();
};

/// Logits that spread over some tens, as those of models do.
Case random_case(std::int64_t positions, torch::ScalarType type) {
  torch::manual_seed(static_cast<std::uint64_t>(positions));
  Case c;
  c.hidden = torch::randn({positions, kDim}, type) * 4;
  c.other = c.hidden + torch::randn({positions, kDim}, type) * 0.5;
  c.head = torch::randn({kVocab, kDim}, type);
  c.labels = torch::randint(kVocab, {positions}, torch::kInt64);
  return c;
}

void expect_close(const std::vector<double>& found, const Tensor& expected, double tolerance) {
  ASSERT_EQ(std::ssize(found), expected.numel());
  const Tensor values = torch::tensor(found, torch::kFloat64);
  EXPECT_LE((values - expected).abs().max().item<double>(), tolerance);
}

TEST(ReferenceLogits, SumsAreThoseOfF64) {
  for (const bool keep : {true, false}) {
    for (const std::int64_t positions : {1, 63, 64, 65, 131}) {
      for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
        const Case c = random_case(positions, type);
        const ReferenceLogits reference(c.hidden, c.head, c.labels, keep);
        PositionScores scores;
        reference.compare(c.other, scores);
        const auto log_p = [&](const Tensor& hidden) {
          return hidden.to(torch::kFloat64).mm(c.head.to(torch::kFloat64).t()).log_softmax(-1);
        };
        const Tensor p = log_p(c.hidden);
        const Tensor q = log_p(c.other);
        const auto nll = [&](const Tensor& log) {
          return log.gather(1, c.labels.unsqueeze(1)).squeeze(1).neg();
        };
        // A logit is a sum of five products of a few tens together: some ulp of 32, 4e-6 in f32.
        const double tolerance = type == torch::kFloat32 ? 4e-5 : 1e-12;
        expect_close(scores.kl, (p.exp() * (p - q)).sum(-1), tolerance);
        expect_close(scores.nll, nll(q), tolerance);
        expect_close(reference.nll(), nll(p), tolerance);
      }
    }
  }
}

TEST(ReferenceLogits, ItselfIsNoDivergence) {
  for (const bool keep : {true, false}) {
    const Case c = random_case(131, torch::kFloat32);
    const ReferenceLogits reference(c.hidden, c.head, c.labels, keep);
    PositionScores scores;
    reference.compare(c.hidden.clone(), scores);
    EXPECT_EQ(scores.kl, std::vector<double>(131, 0.0));
    EXPECT_EQ(scores.nll, reference.nll());
  }
}

// No digits of a small divergence are lost in the difference of large numbers.
TEST(ReferenceLogits, SmallDivergences) {
  Case c = random_case(64, torch::kFloat64);
  c.other = c.hidden + torch::randn_like(c.hidden) * 3e-3;
  const auto kl = [&](torch::ScalarType type) {
    const ReferenceLogits reference(c.hidden.to(type), c.head.to(type), c.labels, true);
    PositionScores scores;
    reference.compare(c.other.to(type), scores);
    return torch::tensor(scores.kl, torch::kFloat64).mean().item<double>();
  };
  const double exact = kl(torch::kFloat64);
  EXPECT_GT(exact, 1e-6);
  EXPECT_LT(exact, 1e-5);
  // What rounding of the logits moves it by: a few 1e-7 a position that cancel in the mean of 64.
  EXPECT_NEAR(kl(torch::kFloat32), exact, 5e-8);
}

TEST(ReferenceLogits, WhatIsNotFiniteShows) {
  Case c = random_case(3, torch::kFloat32);
  const ReferenceLogits reference(c.hidden, c.head, c.labels, true);
  c.other[1][2] = std::nan("");
  PositionScores scores;
  reference.compare(c.other, scores);
  EXPECT_TRUE(std::isfinite(scores.kl[0]));
  EXPECT_FALSE(std::isfinite(scores.kl[1]));
  EXPECT_FALSE(std::isfinite(scores.nll[1]));
}

}  // namespace
}  // namespace onebit::quant
