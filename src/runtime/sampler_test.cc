#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <set>
#include <vector>

#include "base/error.h"

namespace onebit::runtime {
namespace {

using text::TokenId;

/// All filters off: the draw is from the whole softmax.
SamplerOptions plain(std::uint64_t seed = 1) {
  return {.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F, .seed = seed};
}

/// Logits whose softmax at temperature 1 is `p`.
std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> logits;
  logits.reserve(p.size());
  for (const double v : p) logits.push_back(static_cast<float>(std::log(v)) + 3.0F);
  return logits;
}

std::set<TokenId> support(const SamplerOptions& options, const std::vector<float>& logits,
                          const std::vector<TokenId>& history = {}) {
  Sampler sampler(options, kernels::best_kernels());
  std::set<TokenId> seen;
  for (int i = 0; i < 4000; ++i) seen.insert(sampler.sample(logits, history));
  return seen;
}

TEST(Sampler, GreedyTakesTheHighestAndTheLowerIdOfATie) {
  SamplerOptions options;
  options.temperature = 0;
  Sampler sampler(options, kernels::best_kernels());
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 2, 1, 2, -1}, {}), 1);
  options.repeat_penalty = 1.5F;  // the path with a penalty: 2 / 1.5 < 2
  EXPECT_EQ(Sampler(options, kernels::best_kernels())
                .sample(std::vector<float>{0, 2, 1, 2, -1}, std::vector<TokenId>{1}),
            3);
  EXPECT_EQ(Sampler(options, kernels::best_kernels())
                .sample(std::vector<float>{0, 2, 1, 2, -1}, std::vector<TokenId>{4}),
            1);
}

TEST(Sampler, DrawsFollowTheSoftmaxAtTheTemperature) {
  const std::vector<double> p = {0.5, 0.05, 0.25, 0.2};
  for (const float temperature : {1.0F, 0.5F}) {
    std::vector<double> expected;
    double total = 0;
    for (const double v : p) total += expected.emplace_back(std::pow(v, 1 / temperature));
    SamplerOptions options = plain(42);
    options.temperature = temperature;
    Sampler sampler(options, kernels::best_kernels());
    constexpr int kDraws = 40000;
    std::vector<int> counts(p.size());
    for (int i = 0; i < kDraws; ++i) {
      ++counts[static_cast<std::size_t>(sampler.sample(logits_of(p), {}))];
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double q = expected[i] / total;
      const double deviation = std::sqrt(kDraws * q * (1 - q));
      EXPECT_NEAR(counts[i], kDraws * q, 4.5 * deviation) << "id " << i << " T " << temperature;
    }
  }
}

TEST(Sampler, TopKKeepsTheHighestAndTheLowerIdsOfATie) {
  SamplerOptions options = plain();
  options.top_k = 2;
  EXPECT_EQ(support(options, {1, 3, 2, 0}), (std::set<TokenId>{1, 2}));
  EXPECT_EQ(support(options, {1, 1, 1, 1}), (std::set<TokenId>{0, 1}));
  options.top_k = 100;
  EXPECT_EQ(support(options, {1, 1, 1, 1}).size(), 4U);
  options.top_k = 1;
  EXPECT_EQ(support(options, {1, 1, 4, 1}), (std::set<TokenId>{2}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplerOptions options = plain();
  const std::vector<float> logits = logits_of({0.1, 0.5, 0.3, 0.1});
  options.top_p = 0.49F;
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{1}));
  options.top_p = 0.6F;
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{1, 2}));
  options.top_p = 0.85F;  // of the two equal ones the lower id comes first
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{0, 1, 2}));
  options.top_p = 1e-6F;
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{1}));
}

TEST(Sampler, TopPSeesWhatTopKLeft) {
  SamplerOptions options = plain();
  options.top_k = 2;  // 0.4 and 0.3 become 0.571 and 0.429
  options.top_p = 0.55F;
  EXPECT_EQ(support(options, logits_of({0.3, 0.4, 0.2, 0.1})), (std::set<TokenId>{1}));
}

TEST(Sampler, MinPIsRelativeToTheHighestAndPrecedesTheTemperature) {
  SamplerOptions options = plain();
  const std::vector<float> logits = logits_of({0.5, 0.3, 0.15, 0.05});
  options.min_p = 0.25F;  // at least 0.125
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{0, 1, 2}));
  options.temperature = 5;  // flatter, but the same three
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{0, 1, 2}));
  options.min_p = 1;
  EXPECT_EQ(support(options, logits), (std::set<TokenId>{0}));
}

/// What the filters keep, by their definition over all logits sorted.
std::set<TokenId> kept_by(const SamplerOptions& options, const std::vector<float>& logits) {
  std::vector<std::pair<double, TokenId>> best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) best.emplace_back(-logits[i], static_cast<TokenId>(i));
  }
  std::sort(best.begin(), best.end());
  if (options.top_k > 0) {
    best.resize(std::min(best.size(), static_cast<std::size_t>(options.top_k)));
  }
  double total = 0;
  for (const auto& [minus, id] : best) total += std::exp(-minus);
  std::set<TokenId> kept;
  double sum = 0;
  for (const auto& [minus, id] : best) {
    if (options.top_p < 1 && sum >= static_cast<double>(options.top_p) * total) break;
    sum += std::exp(-minus);
    if (std::exp(best[0].first - minus) >= static_cast<double>(options.min_p)) kept.insert(id);
  }
  return kept;
}

/// More logits than are looked at together, in every combination of filters.
TEST(Sampler, KeepsWhatTheDefinitionKeeps) {
  Rng rng(3);
  for (const std::size_t vocab : {1U, 63U, 64U, 65U, 1000U, 3001U}) {
    std::vector<float> logits(vocab);
    // Few enough levels that there are ties, and one token in 97 that has no finite logit.
    for (float& v : logits) v = static_cast<float>(rng.below(300)) / 37.0F;
    for (std::size_t i = 5; i < vocab; i += 97) {
      logits[i] = std::numeric_limits<float>::quiet_NaN();
    }
    for (const std::int64_t top_k : {0, 1, 3, 40, 5000}) {
      for (const float top_p : {1.0F, 0.9F, 0.3F}) {
        for (const float min_p : {0.0F, 0.05F, 0.4F}) {
          SamplerOptions options = plain(vocab);
          options.top_k = top_k;
          options.top_p = top_p;
          options.min_p = min_p;
          const std::set<TokenId> kept = kept_by(options, logits);
          // Flat, so that what is kept comes up.
          options.temperature = 1000;
          Sampler sampler(options, kernels::best_kernels());
          std::set<TokenId> seen;
          for (int i = 0; i < 200; ++i) seen.insert(sampler.sample(logits, {}));
          EXPECT_TRUE(std::includes(kept.begin(), kept.end(), seen.begin(), seen.end()))
              << vocab << " top-k " << top_k << " top-p " << top_p << " min-p " << min_p;
          // All of a few; of many, n draws miss a share of e^(-n / kept).
          const double share = 1 - std::exp(-200.0 / static_cast<double>(kept.size()));
          EXPECT_GE(static_cast<double>(seen.size()),
                    0.7 * share * static_cast<double>(kept.size()) - 1);
        }
      }
    }
  }
}

TEST(Sampler, RepeatPenaltyDividesOrMultipliesOnceAToken) {
  SamplerOptions options;
  options.temperature = 0;
  options.repeat_penalty = 2;
  options.repeat_last_n = 3;
  Sampler sampler(options, kernels::best_kernels());
  const std::vector<float> logits = {1.1F, 2.0F, -1.0F};
  EXPECT_EQ(sampler.sample(logits, {}), 1);
  EXPECT_EQ(sampler.sample(logits, std::vector<TokenId>{1}), 0);             // 2 / 2 < 1.1
  EXPECT_EQ(sampler.sample(logits, std::vector<TokenId>{1, 2, 2, 2}), 1);    // too long ago
  EXPECT_EQ(sampler.sample(logits, std::vector<TokenId>{0, 1, 99, -5}), 0);  // not ids: ignored
  const std::vector<float> high = {1.1F, 4.0F, -1.0F};
  EXPECT_EQ(sampler.sample(high, std::vector<TokenId>{1, 1, 1}), 1);  // 2, not 0.5
  const std::vector<float> negative = {-3.0F, -2.0F, -9.0F};
  EXPECT_EQ(sampler.sample(negative, std::vector<TokenId>{1}), 0);  // -4 < -3
  options.repeat_last_n = -1;
  EXPECT_EQ(
      Sampler(options, kernels::best_kernels()).sample(logits, std::vector<TokenId>{1, 2, 2, 2}),
      0);
  options.repeat_last_n = 0;
  EXPECT_EQ(Sampler(options, kernels::best_kernels()).sample(logits, std::vector<TokenId>{1}), 1);
}

TEST(Sampler, TheSeedDecides) {
  const std::vector<float> logits(50, 0.0F);
  const auto draws = [&](std::uint64_t seed) {
    Sampler sampler(plain(seed), kernels::best_kernels());
    std::vector<TokenId> ids(20);
    for (TokenId& id : ids) id = sampler.sample(logits, {});
    return ids;
  };
  EXPECT_EQ(draws(7), draws(7));
  EXPECT_NE(draws(7), draws(8));
}

TEST(Sampler, NeverTakesALogitThatIsNotFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(support(plain(), {nan, 1, inf, 1, -inf}), (std::set<TokenId>{1, 3}));
  SamplerOptions greedy;
  greedy.temperature = 0;
  EXPECT_EQ(support(greedy, {nan, 1, inf, 2, -inf}), (std::set<TokenId>{3}));
  for (const std::vector<float>& logits :
       {std::vector<float>{nan, inf, -inf}, std::vector<float>{}}) {
    for (const SamplerOptions& options : {plain(), greedy}) {
      try {
        Sampler(options, kernels::best_kernels()).sample(logits, {});
        FAIL() << "no error";
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kNumeric);
      }
    }
  }
}

TEST(Sampler, RefusesOptionsOutsideTheirRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::function<void(SamplerOptions&)>> spoil = {
      [](auto& o) { o.temperature = -0.1F; }, [&](auto& o) { o.temperature = nan; },
      [](auto& o) { o.top_k = -1; },          [](auto& o) { o.top_p = 0; },
      [](auto& o) { o.top_p = 1.5F; },        [&](auto& o) { o.top_p = nan; },
      [](auto& o) { o.min_p = -0.1F; },       [](auto& o) { o.min_p = 1.1F; },
      [](auto& o) { o.repeat_penalty = 0; },  [](auto& o) { o.repeat_last_n = -2; }};
  for (std::size_t i = 0; i < spoil.size(); ++i) {
    SamplerOptions options;
    spoil[i](options);
    try {
      const Sampler sampler(options, kernels::best_kernels());
      ADD_FAILURE() << "case " << i << ": no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    }
  }
}

}  // namespace
}  // namespace onebit::runtime
