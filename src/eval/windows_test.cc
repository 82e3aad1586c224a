#include "eval/windows.h"

#include <gmock/gmock.h>
#include <vector>

#include "base/error.h"

namespace onebit::eval {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string error_of(std::int64_t tokens, const PerplexityOptions& options) {
  try {
    cut_windows(tokens, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

/// How often each token is predicted, and from how many tokens before it at least.
struct Coverage {
  std::vector<int> scored;
  std::vector<std::int64_t> context;
};

Coverage coverage(std::int64_t tokens, const PerplexityOptions& options) {
  Coverage result;
  result.scored.resize(static_cast<std::size_t>(tokens));
  result.context.resize(static_cast<std::size_t>(tokens));
  for (const Window& window : cut_windows(tokens, options)) {
    EXPECT_GE(window.begin, 0);
    EXPECT_LE(window.begin + window.size, tokens);
    EXPECT_LE(window.size, options.window);
    EXPECT_GE(window.first, 0);
    EXPECT_GT(window.scored(), 0);
    for (std::int64_t p = window.first; p + 1 < window.size; ++p) {
      const auto token = static_cast<std::size_t>(window.begin + p + 1);
      ++result.scored[token];
      result.context[token] = p + 1;
    }
  }
  return result;
}

TEST(Windows, PaperAndLlamaCpp) {
  const auto paper = cut_windows(23, {.window = 10});
  ASSERT_EQ(paper.size(), 2U);
  EXPECT_EQ(paper[1].begin, 10);
  EXPECT_EQ(paper[1].size, 10);
  EXPECT_EQ(paper[1].first, 0);
  EXPECT_EQ(paper[1].scored(), 9);
  for (const std::int64_t window : {3, 4, 10, 11}) {
    const auto half = cut_windows(window, {.window = window, .protocol = Protocol::kLlamaCpp});
    ASSERT_EQ(half.size(), 1U);
    EXPECT_EQ(half[0].first, window / 2);
    EXPECT_EQ(half[0].scored(), window - 1 - window / 2);
  }
}

TEST(Windows, StridesScoreEveryTokenOnce) {
  for (const std::int64_t window : {2, 3, 8, 10}) {
    for (std::int64_t stride = 1; stride < window; ++stride) {
      for (std::int64_t tokens = 2; tokens <= 4 * window; ++tokens) {
        const Coverage found = coverage(tokens, {.window = window, .stride = stride});
        EXPECT_EQ(found.scored[0], 0);
        for (std::int64_t t = 1; t < tokens; ++t) {
          const auto i = static_cast<std::size_t>(t);
          EXPECT_EQ(found.scored[i], 1) << "token " << t << " of " << tokens << ", window "
                                        << window << ", stride " << stride;
          EXPECT_GE(found.context[i], std::min(t, window - stride));
        }
      }
    }
  }
}

/// The loop of Hugging Face's documentation; a label is predicted from the one before it in its
/// window.
TEST(Windows, StridesAreThoseOfTheDocumentation) {
  for (const std::int64_t length : {4, 7}) {
    for (std::int64_t stride = 1; stride <= length; ++stride) {
      for (std::int64_t tokens = 2; tokens <= 30; ++tokens) {
        std::vector<Window> expected;
        std::int64_t previous_end = 0;
        for (std::int64_t begin = 0; begin < tokens; begin += stride) {
          const std::int64_t end = std::min(begin + length, tokens);
          const std::int64_t labels = end - previous_end;
          const std::int64_t first = std::max<std::int64_t>(end - begin - labels, 1) - 1;
          if (end - begin - 1 - first > 0) expected.push_back({begin, end - begin, first});
          previous_end = end;
          if (end == tokens) break;
        }
        const auto found = cut_windows(tokens, {.window = length, .stride = stride});
        ASSERT_EQ(found.size(), expected.size()) << tokens << " by " << stride;
        for (std::size_t w = 0; w < found.size(); ++w) {
          EXPECT_EQ(found[w].begin, expected[w].begin);
          EXPECT_EQ(found[w].size, expected[w].size);
          EXPECT_EQ(found[w].first, expected[w].first);
        }
      }
    }
  }
}

TEST(Windows, AStrideOfTheWindowKeepsWhatIsLeft) {
  const auto apart = cut_windows(23, {.window = 10, .stride = 10});
  ASSERT_EQ(apart.size(), 3U);
  EXPECT_EQ(apart[1].scored(), 9);
  EXPECT_EQ(apart[2].begin, 20);
  EXPECT_EQ(apart[2].scored(), 2);
  // A last window of one token has nothing to predict.
  EXPECT_EQ(cut_windows(21, {.window = 10, .stride = 10}).size(), 2U);
}

TEST(Windows, ShortTextsAndMost) {
  const auto one = cut_windows(5, {.window = 10, .stride = 3});
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].scored(), 4);
  EXPECT_EQ(cut_windows(100, {.window = 10, .stride = 5, .max_windows = 4}).size(), 4U);
  EXPECT_EQ(cut_windows(100, {.window = 10, .max_windows = 4}).size(), 4U);
  EXPECT_EQ(cut_windows(100, {.window = 10, .max_windows = 11}).size(), 10U);
}

TEST(Windows, Errors) {
  EXPECT_THAT(error_of(9, {.window = 10}), AllOf(HasSubstr("found 9"), HasSubstr("window of 10")));
  EXPECT_THAT(error_of(1, {.window = 10, .stride = 3}), HasSubstr("found 1 tokens"));
  EXPECT_THAT(error_of(0, {.window = 10, .stride = 3}), HasSubstr("found 0 tokens"));
  EXPECT_THAT(error_of(90, {.window = 10, .stride = 11}), HasSubstr("expected 1 to 10"));
  EXPECT_THAT(error_of(90, {.window = 10, .stride = -1}), HasSubstr("expected 1 to 10"));
  EXPECT_THAT(error_of(90, {.window = 10, .protocol = Protocol::kLlamaCpp, .stride = 5}),
              HasSubstr("llama.cpp"));
  EXPECT_THAT(error_of(90, {.window = 1}), HasSubstr("at least 2"));
  EXPECT_THAT(error_of(90, {.window = 2, .protocol = Protocol::kLlamaCpp}),
              HasSubstr("at least 3"));
}

}  // namespace
}  // namespace onebit::eval
