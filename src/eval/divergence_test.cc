#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace onebit::eval {
namespace {

using Row = std::vector<float>;

/// Logits as models have them: a few likely tokens, many that are not.
Row likely_row(std::size_t size, std::uint64_t seed) {
  Rng rng(seed);
  Row row(size);
  for (float& z : row) z = static_cast<float>(12 * std::pow(rng.uniform(), 6) - 4 * rng.uniform());
  return row;
}

Row perturbed(const Row& row, double width, std::uint64_t seed) {
  Rng rng(seed);
  Row result = row;
  for (float& z : result) z += static_cast<float>(width * (2 * rng.uniform() - 1));
  return result;
}

std::vector<long double> log_softmax(const Row& row) {
  const float max = *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (const float z : row) sum += std::exp(static_cast<long double>(z) - max);
  std::vector<long double> result;
  for (const float z : row) result.push_back(static_cast<long double>(z) - max - std::log(sum));
  return result;
}

long double exact_kl(const Row& model, const Row& teacher) {
  const auto log_q = log_softmax(model);
  const auto log_p = log_softmax(teacher);
  long double kl = 0;
  for (std::size_t i = 0; i < model.size(); ++i) kl += std::exp(log_p[i]) * (log_p[i] - log_q[i]);
  return kl;
}

/// A row as it is kept, with its words.
struct Kept {
  std::vector<std::uint16_t> words;
  LogProbRow row;

  Kept(const Row& logits, RowKind kind)
      : words(log_prob_row_words(static_cast<std::int64_t>(logits.size())), 77) {
    encode_log_probs(logits, log_sum_exp(logits), kind, words);
    row = decode_log_probs(words, static_cast<std::int64_t>(logits.size()), kind);
  }
  Kept(const Kept&) = delete;
};

constexpr RowKind kKinds[] = {RowKind::kLlamaCpp, RowKind::kWhole};

TEST(Divergence, MatchesAnEvaluationInLongDouble) {
  for (const std::size_t size : {1U, 2U, 5U, 8U, 31U, 512U, 49152U}) {
    for (const double width : {0.0, 1e-3, 0.3, 5.0}) {
      const Row teacher = likely_row(size, size);
      const Row model = perturbed(teacher, width, size + 1);
      const PositionScore score = score_position(model, teacher, static_cast<int>(size / 2));
      // divergence.h: twice the bound of log_sum_exp, and 2^-21 of the mean difference.
      const double bound =
          (8 + 2 * std::log(static_cast<double>(size))) * 0x1p-24 + width * 0x1p-21;
      EXPECT_NEAR(score.kl, static_cast<double>(exact_kl(model, teacher)), bound) << size;
      EXPECT_NEAR(score.nll, static_cast<double>(-log_softmax(model)[size / 2]), bound);
      EXPECT_NEAR(score.teacher_nll, static_cast<double>(-log_softmax(teacher)[size / 2]), bound);
      if (width == 0.0) {
        EXPECT_EQ(score.kl, 0);
      }
    }
  }
}

TEST(Divergence, WithoutATeacherOnlyTheModelIsScored) {
  const Row model = likely_row(100, 3);
  const PositionScore score = score_position(model, 7);
  EXPECT_EQ(score.nll, score_position(model, perturbed(model, 1, 4), 7).nll);
  EXPECT_EQ(score.kl, 0);
}

TEST(Divergence, SameTopIsTheFirstOfEquals) {
  const Row model = {0, 3, 3, 1, 2};
  EXPECT_TRUE(score_position(model, Row{0, 9, 1, 9, 9}, 0).same_top);
  EXPECT_FALSE(score_position(model, Row{0, 1, 9, 9, 1}, 0).same_top);
  for (const RowKind kind : kKinds) {
    EXPECT_TRUE(score_position(model, Kept({0, 9, 1, 9, 9}, kind).row, 0).same_top);
    EXPECT_FALSE(score_position(model, Kept({0, 1, 9, 9, 1}, kind).row, 0).same_top);
  }
}

TEST(Divergence, SaysWhoseLogitsAreNotFinite) {
  const Row good = {1, 2, 3};
  const Row bad = {1, std::numeric_limits<float>::infinity(), 3};
  EXPECT_TRUE(std::isnan(score_position(bad, 0).nll));
  EXPECT_TRUE(std::isnan(score_position(bad, good, 0).nll));
  EXPECT_FALSE(std::isnan(score_position(good, bad, 0).nll));
  EXPECT_TRUE(std::isnan(score_position(good, bad, 0).kl));
  EXPECT_TRUE(std::isnan(score_position(bad, Kept(good, RowKind::kWhole).row, 0).nll));
}

TEST(Divergence, TokensThatAModelExcludesCostNothing) {
  Row teacher = likely_row(40, 9);
  teacher[11] = std::numeric_limits<float>::lowest();
  Row model = perturbed(teacher, 0.1, 10);
  model[11] = -30;
  const double expected = static_cast<double>(exact_kl(model, teacher));
  EXPECT_NEAR(score_position(model, teacher, 0).kl, expected, 1e-6);
}

TEST(LogProbRow, RoundsWithinHalfAStep) {
  for (const RowKind kind : kKinds) {
    for (const std::size_t size : {1U, 2U, 3U, 4U, 7U, 9U, 512U, 1001U}) {
      for (const double stretch : {1.0, 0.05, 5.0}) {
        Row logits = likely_row(size, size + 40);
        for (float& z : logits) z *= static_cast<float>(stretch);
        const Kept kept(logits, kind);
        const LogProbRow& row = kept.row;
        EXPECT_TRUE(plausible(row));
        EXPECT_EQ(row.codes.size(), size);
        EXPECT_LE(row.scale, span_of(kind) / 65535 * (1 + 0x1p-22F));
        EXPECT_EQ(kept.words.size() % 2, 0U);
        if (size % 2 == 1) {
          EXPECT_EQ(kept.words.back(), 0);
        }
        const auto expected = log_softmax(logits);
        const float max = *std::max_element(logits.begin(), logits.end());
        for (std::size_t i = 0; i < size; ++i) {
          if (logits[i] < max - span_of(kind)) {
            EXPECT_EQ(row.codes[i], 0);
            EXPECT_LE(row.log_prob(i), -span_of(kind) + 1e-5F);
          } else {
            // Half a step, and some roundings of values below 64 in f32.
            EXPECT_NEAR(row.log_prob(i), static_cast<double>(expected[i]),
                        row.scale / 2 + 4 * 0x1p-19)
                << i << " of " << size;
          }
        }
      }
    }
  }
}

TEST(LogProbRow, EqualLogits) {
  for (const float difference : {0.0F, std::numeric_limits<float>::denorm_min()}) {
    Row logits(7, 0.0F);
    logits[6] = difference;
    const Kept kept(logits, RowKind::kWhole);
    EXPECT_TRUE(plausible(kept.row));
    for (std::size_t i = 0; i < 7; ++i) EXPECT_NEAR(kept.row.log_prob(i), -std::log(7.0), 1e-6);
  }
}

/// These lines are llama.cpp's log_softmax(…, uint16_t *, …) in tools/perplexity, in f64 where it
/// sums.
TEST(LogProbRow, IsWhatLlamaCppWrites) {
  const Row logits = likely_row(513, 5);
  const float max = *std::max_element(logits.begin(), logits.end());
  const float min = std::max(*std::min_element(logits.begin(), logits.end()), max - 16);
  double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<double>(z) - max);
  const float scale = (max - min) / 65535.0F;
  const float inverse = 1 / scale;
  const Kept kept(logits, RowKind::kLlamaCpp);
  EXPECT_EQ(kept.row.scale, scale);
  EXPECT_NEAR(kept.row.least, min - max - std::log(sum), 4e-6);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float steps = logits[i] > min ? inverse * (logits[i] - min) : 0.0F;
    EXPECT_EQ(kept.row.codes[i], static_cast<std::uint16_t>(std::nearbyint(steps)));
  }
  EXPECT_EQ(kept.words.size(), 4U + 514U);
}

/// And these its log_softmax(…, const uint16_t *, …, kl_divergence_result &).
TEST(LogProbRow, DivergenceIsWhatLlamaCppComputes) {
  for (const std::size_t size : {5U, 16U, 513U, 8192U}) {
    const Row teacher = likely_row(size, size);
    const Row model = perturbed(teacher, 1, size + 1);
    const Kept kept(teacher, RowKind::kLlamaCpp);
    const auto log_q = log_softmax(model);
    long double kl = 0;
    int left_out = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const long double log_p = kept.row.log_prob(i);
      if (log_p > -16) kl += std::exp(log_p) * (log_p - log_q[i]);
      left_out += log_p > -16 ? 0 : 1;
    }
    if (size == 8192) {
      EXPECT_GT(left_out, 100);
    }
    const PositionScore score = score_position(model, kept.row, 3);
    EXPECT_NEAR(score.kl, static_cast<double>(kl), 4e-6);
    EXPECT_EQ(score.teacher_nll, -static_cast<double>(kept.row.log_prob(3)));
  }
}

/// A divergence from the teacher as it is and from its kept row: ln p_i is off by half a step h at
/// most, and KL by h times the spread of ln(p / q), here less than the width of the perturbation,
/// and by h².
TEST(LogProbRow, DivergenceFromAWholeRow) {
  for (const double width : {0.0, 0.01, 0.3, 3.0}) {
    for (const std::size_t size : {3U, 16U, 100U, 8192U}) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const Row teacher = likely_row(size, seed + 100);
        const Row model = perturbed(teacher, width, seed + 200);
        const Kept kept(teacher, RowKind::kWhole);
        const PositionScore live = score_position(model, teacher, 1);
        const PositionScore read = score_position(model, kept.row, 1);
        const double half_step = kept.row.scale / 2.0;
        EXPECT_NEAR(read.kl, live.kl, 2 * width * half_step + 4e-6);
        EXPECT_NEAR(read.teacher_nll, live.teacher_nll, 2 * half_step + 4e-6);
        EXPECT_EQ(read.nll, live.nll);
        EXPECT_EQ(read.same_top, live.same_top);
      }
    }
  }
}

TEST(LogProbRow, GarbageIsNotPlausible) {
  const Kept kept(likely_row(64, 8), RowKind::kLlamaCpp);
  const LogProbRow& row = kept.row;
  const auto with = [&](float scale, float least) {
    return LogProbRow{row.kind, scale, least, row.codes};
  };
  EXPECT_TRUE(plausible(with(row.scale, row.least)));
  EXPECT_FALSE(plausible(with(-row.scale, row.least)));
  EXPECT_FALSE(plausible(with(2 * row.scale + 1e-3F, row.least)));
  EXPECT_FALSE(plausible(with(row.scale, row.least + 5)));
  EXPECT_FALSE(plausible(with(row.scale, row.least - 5)));
  EXPECT_FALSE(plausible(with(std::nanf(""), row.least)));
  EXPECT_FALSE(plausible(with(row.scale, std::nanf(""))));
  EXPECT_FALSE(plausible(with(row.scale, -std::numeric_limits<float>::infinity())));
  EXPECT_FALSE(plausible(with(0, 0)));
}

}  // namespace
}  // namespace onebit::eval
