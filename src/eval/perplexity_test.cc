#include "eval/perplexity.h"

#include <atomic>
#include <cmath>
#include <filesystem>
#include <gmock/gmock.h>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "base/test_paths.h"
#include "eval/logits_stream.h"
#include "eval/statistics.h"

namespace onebit::eval {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using text::TokenId;

constexpr TokenId kBos = 0;

/// One token a byte, ids 1…; BOS 0 when asked for.
class ByteTokenizer final : public text::Tokenizer {
 public:
  explicit ByteTokenizer(bool adds_bos) : adds_bos_(adds_bos) {}
  std::vector<TokenId> encode(std::string_view text,
                              const text::EncodeOptions& options) const override {
    std::vector<TokenId> ids;
    if (options.add_special && adds_bos_) ids.push_back(kBos);
    for (const char c : text) ids.push_back(c - 'a' + 1);
    return ids;
  }
  std::string decode(std::span<const TokenId>, bool) const override { return {}; }
  std::string piece(TokenId) const override { return {}; }
  std::int64_t vocab_size() const override { return 27; }
  TokenId bos() const override { return kBos; }
  TokenId eos() const override { return -1; }
  bool adds_bos() const override { return adds_bos_; }
  bool is_end(TokenId) const override { return false; }
  bool is_control(TokenId id) const override { return id == kBos; }

 private:
  bool adds_bos_;
};

/// Logits as a function of the position's token; remembers what it was asked.
class FakeScorer final : public Scorer {
 public:
  using Logits = std::function<std::vector<float>(std::int64_t position, TokenId token)>;
  explicit FakeScorer(Logits logits, std::int64_t vocab = 27, std::int64_t context = 1000)
      : logits_(std::move(logits)), vocab_(vocab), context_(context) {}
  std::int64_t vocab_size() const override { return vocab_; }
  std::int64_t context() const override { return context_; }
  void score(std::span<const TokenId> tokens, std::int64_t first, const LogitsSink& sink) override {
    calls.emplace_back(tokens.begin(), tokens.end());
    firsts.push_back(first);
    for (auto p = first; p < static_cast<std::int64_t>(tokens.size()); ++p) {
      sink(p, logits_(p, tokens[static_cast<std::size_t>(p)]));
    }
  }
  std::vector<std::vector<TokenId>> calls;
  std::vector<std::int64_t> firsts;

 private:
  Logits logits_;
  std::int64_t vocab_;
  std::int64_t context_;
};

std::vector<float> uniform(std::int64_t, TokenId) { return std::vector<float>(27, 3.5F); }

/// Logits that differ by position and id, reproducibly.
FakeScorer::Logits noise(std::uint64_t seed, std::size_t vocab = 27) {
  return [seed, vocab](std::int64_t position, TokenId token) {
    Rng rng(seed * 1000003 + static_cast<std::uint64_t>(position) * 31 +
            static_cast<std::uint64_t>(token));
    std::vector<float> row(vocab);
    for (float& v : row) v = static_cast<float>(rng.uniform() * 12 - 6);
    return row;
  };
}

std::string letters(std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += static_cast<char>('a' + (i * 7 + i / 5) % 26);
  return text;
}

PerplexityResult measure(Scorer& model, Scorer* teacher, std::string_view text,
                         const PerplexityOptions& options, bool adds_bos = false) {
  NoProgress progress;
  return perplexity(model, teacher, ByteTokenizer(adds_bos), text, options, progress, {});
}

std::string error_of(Scorer& model, Scorer* teacher, std::string_view text,
                     const PerplexityOptions& options,
                     ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    measure(model, teacher, text, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Perplexity, UniformModelScoresItsVocabulary) {
  FakeScorer model(uniform);
  const auto result = measure(model, nullptr, letters(40), {.window = 8, .threads = 2});
  EXPECT_NEAR(result.ppl, 27.0, 1e-12 * 27);
  EXPECT_NEAR(result.ppl_stderr, 0.0, 1e-12);
  EXPECT_EQ(result.tokens, 40);
  EXPECT_EQ(result.windows, 5);
  EXPECT_EQ(result.scored, 35);
  EXPECT_FALSE(result.has_teacher);
}

TEST(Perplexity, KnownProbabilities) {
  // The right successor in "abab…" gets probability 3/4 after 'a' (id 1) and 1/2 after 'b'.
  FakeScorer model([](std::int64_t, TokenId token) {
    std::vector<float> row(27, -std::numeric_limits<float>::max());
    const float other = token == 1 ? -std::log(3.0F) : 0.0F;
    row[static_cast<std::size_t>(token == 1 ? 2 : 1)] = 0;
    row[5] = other;
    return row;
  });
  const auto result = measure(model, nullptr, "abababab", {.window = 4});
  // Predicted: b, a, b in each of two windows.
  const double nll[] = {std::log(4.0 / 3), std::log(2.0), std::log(4.0 / 3)};
  const double mean = (nll[0] + nll[1] + nll[2]) / 3;
  EXPECT_NEAR(result.mean_nll, mean, 1e-7);  // log 3 above is a float
  EXPECT_NEAR(result.ppl, std::exp(mean), 1e-7);
  double squares = 0;
  for (const double v : nll) squares += 2 * (v - mean) * (v - mean);
  EXPECT_NEAR(result.ppl_stderr, std::exp(mean) * std::sqrt(squares / 5 / 6), 1e-7);
}

TEST(Perplexity, PaperWindowsDoNotOverlapAndDropTheRest) {
  FakeScorer model(uniform);
  const std::string text = letters(11);
  const auto result = measure(model, nullptr, text, {.window = 4}, /*adds_bos=*/true);
  EXPECT_EQ(result.tokens, 12);  // BOS once, at the very start
  EXPECT_EQ(result.windows, 3);
  EXPECT_EQ(result.scored, 9);
  ASSERT_EQ(model.calls.size(), 3U);
  const auto ids = ByteTokenizer(true).encode(text, {});
  EXPECT_EQ(model.calls[0], (std::vector<TokenId>{kBos, ids[1], ids[2]}));
  EXPECT_EQ(model.calls[1], (std::vector<TokenId>{ids[4], ids[5], ids[6]}));
  EXPECT_EQ(model.calls[2], (std::vector<TokenId>{ids[8], ids[9], ids[10]}));
  EXPECT_EQ(model.firsts, (std::vector<std::int64_t>{0, 0, 0}));
}

TEST(Perplexity, LlamaCppScoresTheSecondHalfBehindABos) {
  FakeScorer model(uniform);
  const std::string text = letters(15);
  const auto result =
      measure(model, nullptr, text, {.window = 8, .protocol = Protocol::kLlamaCpp}, true);
  EXPECT_EQ(result.windows, 2);
  EXPECT_EQ(result.scored, 2 * 3);  // positions 4, 5, 6
  const auto ids = ByteTokenizer(true).encode(text, {});
  ASSERT_EQ(model.calls.size(), 2U);
  EXPECT_EQ(model.calls[1].size(), 7U);
  EXPECT_EQ(model.calls[1][0], kBos);
  EXPECT_EQ(model.calls[1][1], ids[9]);
  EXPECT_EQ(model.firsts, (std::vector<std::int64_t>{4, 4}));

  FakeScorer without(uniform);
  measure(without, nullptr, text, {.window = 5, .protocol = Protocol::kLlamaCpp}, false);
  const auto plain = ByteTokenizer(false).encode(text, {});
  EXPECT_EQ(without.calls[1], (std::vector<TokenId>{plain[5], plain[6], plain[7], plain[8]}));
  EXPECT_EQ(without.firsts[0], 2);  // 5/2; positions 2 and 3
}

TEST(Perplexity, TargetIsTheSuccessor) {
  // All mass on one id per position: only the true successor costs nothing.
  const std::string text = letters(9);
  const auto ids = ByteTokenizer(false).encode(text, {});
  FakeScorer model([&](std::int64_t position, TokenId) {
    std::vector<float> row(27, 0.0F);
    row[static_cast<std::size_t>(ids[static_cast<std::size_t>(position) + 1])] = 200;
    return row;
  });
  EXPECT_EQ(measure(model, nullptr, text, {.window = 9}).mean_nll, 0);
}

/// What log_softmax.h and divergence.h promise of 27 tokens whose logits differ by 12 at most.
constexpr double kNllBound = (4 + 3.3) * 0x1p-24;
constexpr double kKlBound = 2 * kNllBound + 12 * 0x1p-21;

TEST(Perplexity, MatchesADirectEvaluation) {
  // Windows longer than a batch of rows, vocabulary as it comes, any number of threads.
  const std::string text = letters(150);
  const auto ids = ByteTokenizer(false).encode(text, {});
  FakeScorer model(noise(1));
  FakeScorer teacher(noise(2));
  std::vector<double> nll;
  std::vector<double> kl;
  std::vector<double> delta_p;
  std::vector<double> squares;
  std::vector<double> ratios;
  int same = 0;
  for (std::size_t w = 0; w < 2; ++w) {
    for (std::size_t p = 0; p + 1 < 70; ++p) {
      const auto z = noise(1)(static_cast<std::int64_t>(p), ids[w * 70 + p]);
      const auto t = noise(2)(static_cast<std::int64_t>(p), ids[w * 70 + p]);
      long double z_sum = 0;
      long double t_sum = 0;
      for (const float v : z) z_sum += std::exp(static_cast<long double>(v));
      for (const float v : t) t_sum += std::exp(static_cast<long double>(v));
      const auto target = static_cast<std::size_t>(ids[w * 70 + p + 1]);
      const long double log_q = z[target] - std::log(z_sum);
      const long double log_p = t[target] - std::log(t_sum);
      nll.push_back(static_cast<double>(-log_q));
      ratios.push_back(static_cast<double>(log_p - log_q));
      delta_p.push_back(static_cast<double>(std::exp(log_q) - std::exp(log_p)));
      squares.push_back(delta_p.back() * delta_p.back());
      long double sum = 0;
      for (std::size_t i = 0; i < z.size(); ++i) {
        const long double log_t = t[i] - std::log(t_sum);
        sum += std::exp(log_t) * (log_t - (z[i] - std::log(z_sum)));
      }
      kl.push_back(static_cast<double>(sum));
      same += std::max_element(z.begin(), z.end()) - z.begin() ==
                      std::max_element(t.begin(), t.end()) - t.begin()
                  ? 1
                  : 0;
    }
  }
  const auto one = measure(model, &teacher, text, {.window = 70, .threads = 1});
  EXPECT_NEAR(one.mean_nll, mean_error(nll).mean, kNllBound);
  EXPECT_TRUE(one.has_teacher);
  EXPECT_NEAR(one.kl_mean, mean_error(kl).mean, kKlBound);
  EXPECT_NEAR(one.kl_stderr, mean_error(kl).error, kKlBound);
  EXPECT_NEAR(one.kl_median, quantile(kl, 0.5), kKlBound);
  EXPECT_NEAR(one.kl_p99, quantile(kl, 0.99), kKlBound);
  EXPECT_NEAR(one.kl_p999, quantile(kl, 0.999), kKlBound);
  EXPECT_NEAR(one.kl_max, quantile(kl, 1), kKlBound);
  const double share = same / 138.0;
  EXPECT_EQ(one.same_top, share);
  EXPECT_NEAR(one.same_top_stderr, std::sqrt(share * (1 - share) / 137), 1e-15);
  EXPECT_NEAR(one.delta_p_mean, mean_error(delta_p).mean, 2 * kNllBound);
  EXPECT_NEAR(one.delta_p_stderr, mean_error(delta_p).error, 2 * kNllBound);
  const double rms = std::sqrt(mean_error(squares).mean);
  EXPECT_NEAR(one.delta_p_rms, rms, 2 * kNllBound);
  EXPECT_NEAR(one.delta_p_rms_stderr, mean_error(squares).error / (2 * rms), 4 * kNllBound);
  EXPECT_NEAR(one.log_ppl_ratio, mean_error(ratios).mean, 2 * kNllBound);
  EXPECT_NEAR(one.log_ppl_ratio_stderr, mean_error(ratios).error, 2 * kNllBound);
  EXPECT_NEAR(std::log(one.teacher_ppl), mean_error(nll).mean - mean_error(ratios).mean, kNllBound);

  const auto three = measure(model, &teacher, text, {.window = 70, .threads = 3});
  EXPECT_EQ(three.ppl, one.ppl);
  EXPECT_EQ(three.kl_mean, one.kl_mean);
}

TEST(Perplexity, StridesScoreWhatIsNew) {
  FakeScorer model(uniform);
  const std::string text = letters(22);
  const auto ids = ByteTokenizer(true).encode(text, {});
  const auto result = measure(model, nullptr, text, {.window = 10, .stride = 4}, /*adds_bos=*/true);
  EXPECT_EQ(result.tokens, 23);
  EXPECT_EQ(result.windows, 5);
  EXPECT_EQ(result.scored, 22);
  ASSERT_EQ(model.calls.size(), 5U);
  // BOS once, at the text's beginning; the last window has what is left.
  EXPECT_EQ(model.calls[0].front(), kBos);
  EXPECT_EQ(model.calls[1], (std::vector<TokenId>(ids.begin() + 4, ids.begin() + 13)));
  EXPECT_EQ(model.calls[4], (std::vector<TokenId>(ids.begin() + 16, ids.begin() + 22)));
  EXPECT_EQ(model.firsts, (std::vector<std::int64_t>{0, 5, 5, 5, 5}));
}

TEST(Perplexity, AFileStandsForTheTeacher) {
  const std::string text = letters(150);
  for (const PerplexityOptions& options :
       {PerplexityOptions{.window = 70}, PerplexityOptions{.window = 70, .stride = 30},
        PerplexityOptions{.window = 70, .protocol = Protocol::kLlamaCpp}}) {
    testing::TempDir dir;
    NoProgress progress;
    FakeScorer model(noise(1));
    FakeScorer teacher(noise(2));
    const ScoredText scored = scored_text(ByteTokenizer(false), text, options);
    PerplexityResult written;
    {
      LogProbWriter file(dir / "base", scored, options, 27, {"t", "t.gguf", "00"}, "program");
      const auto rows = saving_teacher(teacher, file);
      written = perplexity(model, rows.get(), scored, options, progress, {});
    }
    const LogProbFile file = LogProbFile::open(dir / "base");
    EXPECT_EQ(file.rows(), written.scored);
    const auto rows = filed_teacher(file);
    const auto read = perplexity(model, rows.get(), scored, options, progress, {});
    EXPECT_EQ(read.kl_mean, written.kl_mean);
    EXPECT_EQ(read.kl_max, written.kl_max);
    EXPECT_EQ(read.same_top, written.same_top);
    EXPECT_EQ(read.teacher_ppl, written.teacher_ppl);
    // Half a step of the codes, and their spread; none of the 27 tokens lies 16 nats below another.
    const auto live = measure(model, &teacher, text, options);
    EXPECT_NEAR(read.kl_mean, live.kl_mean, 12 * 12.0 / 131070);
    EXPECT_NE(read.kl_mean, live.kl_mean);
    EXPECT_EQ(read.ppl, live.ppl);
    EXPECT_EQ(read.same_top, live.same_top);
  }
}

TEST(Perplexity, ATeacherWhoseLogitsAreNotFiniteLeavesNoFile) {
  testing::TempDir dir;
  NoProgress progress;
  const PerplexityOptions options = {.window = 10};
  const ScoredText scored = scored_text(ByteTokenizer(false), letters(20), options);
  FakeScorer model(uniform);
  FakeScorer teacher([](std::int64_t, TokenId) {
    return std::vector<float>(27, std::numeric_limits<float>::infinity());
  });
  try {
    LogProbWriter file(dir / "base", scored, options, 27, {}, "program");
    perplexity(model, saving_teacher(teacher, file).get(), scored, options, progress, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNumeric);
    EXPECT_THAT(error.what(), HasSubstr("the teacher"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Perplexity, AModelDoesNotDivergeFromItself) {
  FakeScorer model(noise(5));
  FakeScorer teacher(noise(5));
  const auto result = measure(model, &teacher, letters(100), {.window = 50});
  EXPECT_EQ(result.kl_mean, 0);
  EXPECT_EQ(result.kl_p99, 0);
  EXPECT_EQ(result.same_top, 1);
}

TEST(Perplexity, MaxWindows) {
  FakeScorer model(uniform);
  EXPECT_EQ(measure(model, nullptr, letters(40), {.window = 8, .max_windows = 2}).windows, 2);
  EXPECT_EQ(measure(model, nullptr, letters(40), {.window = 8, .max_windows = 9}).windows, 5);
}

TEST(Perplexity, WindowEdges) {
  FakeScorer model(uniform);
  EXPECT_EQ(measure(model, nullptr, letters(8), {.window = 8}).windows, 1);
  EXPECT_EQ(measure(model, nullptr, letters(2), {.window = 2}).scored, 1);
  EXPECT_THAT(error_of(model, nullptr, letters(7), {.window = 8}),
              AllOf(HasSubstr("found 7 tokens"), HasSubstr("one window of 8")));
  EXPECT_THAT(error_of(model, nullptr, "", {.window = 8}), HasSubstr("found 0 tokens"));
  EXPECT_THAT(error_of(model, nullptr, letters(7), {.window = 1}), HasSubstr("at least 2"));
  EXPECT_THAT(error_of(model, nullptr, letters(7), {.window = 2, .protocol = Protocol::kLlamaCpp}),
              HasSubstr("at least 3"));
  FakeScorer small(uniform, 27, 16);
  EXPECT_EQ(measure(small, nullptr, letters(16), {.window = 16}).windows, 1);
  EXPECT_THAT(error_of(small, nullptr, letters(40), {.window = 17}),
              AllOf(HasSubstr("found 17"), HasSubstr("at most 16")));
  EXPECT_THAT(error_of(model, &small, letters(40), {.window = 17}), HasSubstr("the teacher"));
}

TEST(Perplexity, RejectsATeacherOfAnotherVocabulary) {
  FakeScorer model(uniform);
  FakeScorer teacher(noise(1, 28), 28);
  EXPECT_THAT(error_of(model, &teacher, letters(40), {.window = 8}),
              AllOf(HasSubstr("found 28"), HasSubstr("27")));
}

TEST(Perplexity, NonFiniteLogitsNameThePosition) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    const auto broken = [bad](std::int64_t position, TokenId) {
      std::vector<float> row(27, 1.0F);
      if (position == 5) row[26] = bad;
      return row;
    };
    FakeScorer model(broken);
    FakeScorer good(uniform);
    EXPECT_THAT(error_of(model, nullptr, letters(20), {.window = 10}, ErrorCode::kNumeric),
                HasSubstr("the model at position 5 of window 0"));
    EXPECT_THAT(error_of(good, &model, letters(20), {.window = 10}, ErrorCode::kNumeric),
                HasSubstr("the teacher at position 5 of window 0"));
  }
}

TEST(Perplexity, StopsWhenAsked) {
  std::stop_source source;
  FakeScorer teacher(uniform);
  FakeScorer model([&](std::int64_t position, TokenId) {
    if (position == 3) source.request_stop();
    return std::vector<float>(27, 0.0F);
  });
  NoProgress progress;
  try {
    perplexity(model, &teacher, ByteTokenizer(false), letters(400), {.window = 100}, progress,
               source.get_token());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  }
  EXPECT_EQ(model.calls.size(), 1U);
}

TEST(LogitsStream, HandsOverBatchesInOrder) {
  FakeScorer scorer(
      [](std::int64_t position, TokenId token) {
        return std::vector<float>{static_cast<float>(position), static_cast<float>(token)};
      },
      2);
  for (const std::int64_t count : {1, 3, 4, 5, 8, 9}) {
    std::vector<TokenId> tokens(static_cast<std::size_t>(count) + 2, 9);
    LogitsStream stream(scorer, tokens, 2, 4);
    std::vector<float> positions;
    for (auto rows = stream.next(); !rows.empty(); rows = stream.next()) {
      const auto left = static_cast<std::size_t>(count) - positions.size();
      EXPECT_EQ(rows.size(), 2 * std::min<std::size_t>(4, left));
      for (std::size_t i = 0; i < rows.size(); i += 2) positions.push_back(rows[i]);
    }
    ASSERT_EQ(positions.size(), static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < positions.size(); ++i) EXPECT_EQ(positions[i], i + 2.0F);
  }
}

TEST(LogitsStream, RethrowsAfterTheRowsBeforeTheFailure) {
  FakeScorer scorer(
      [](std::int64_t position, TokenId) {
        if (position == 5) throw Error(ErrorCode::kResource, "no more");
        return std::vector<float>(2, 0.0F);
      },
      2);
  const std::vector<TokenId> tokens(10, 1);
  LogitsStream stream(scorer, tokens, 0, 4);
  EXPECT_EQ(stream.next().size(), 8U);
  EXPECT_EQ(stream.next().size(), 2U);
  EXPECT_THROW(stream.next(), Error);
}

TEST(LogitsStream, StopsTheScorerWhenDropped) {
  std::atomic<int> rows{0};
  FakeScorer scorer(
      [&](std::int64_t, TokenId) {
        ++rows;
        return std::vector<float>(2, 0.0F);
      },
      2);
  const std::vector<TokenId> tokens(1000, 1);
  {
    LogitsStream stream(scorer, tokens, 0, 4);
    stream.next();
  }
  EXPECT_LE(rows, 5);  // the batch, and the row whose delivery found nobody
}

TEST(Statistics, MeanAndItsError) {
  const double values[] = {1, 2, 3, 4};
  EXPECT_EQ(mean_error(values).mean, 2.5);
  EXPECT_NEAR(mean_error(values).error, std::sqrt(5.0 / 3 / 4), 1e-15);
  const double one[] = {7};
  EXPECT_EQ(mean_error(one).error, 0);
}

TEST(Statistics, QuantileInterpolatesAsNumpyDoes) {
  const double values[] = {4, 1, 3, 2};
  EXPECT_EQ(quantile(values, 0), 1);
  EXPECT_EQ(quantile(values, 1), 4);
  EXPECT_EQ(quantile(values, 0.5), 2.5);
  EXPECT_NEAR(quantile(values, 0.99), 3.97, 1e-15);  // numpy.quantile([4, 1, 3, 2], 0.99)
  const double one[] = {7};
  EXPECT_EQ(quantile(one, 0.99), 7);
}

}  // namespace
}  // namespace onebit::eval
