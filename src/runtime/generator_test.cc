// What ends a generation, what is shown of it, and what the cache holds afterwards.
#include "runtime/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/test_paths.h"
#include "runtime/test_chain.h"

namespace onebit::runtime {
namespace {

using ::testing::HasSubstr;
using text::TokenId;
using Ids = std::vector<TokenId>;

constexpr TokenId kEnd = 2;    // </s>
constexpr TokenId kFirst = 4;  // "a"; the letters follow
constexpr TokenId id(char c) { return kFirst + (c - 'a'); }

/// Says the alphabet from any letter on, then ends; "q" is everywhere the second choice.
class Generator : public ::testing::Test {
 protected:
  Generator() {
    testing::Chain chain;
    for (char c = 'a'; c < 'z'; ++c)
      chain[id(c)] = {{id('q'), 8}, {id(static_cast<char>(c + 1)), 10}};
    chain[id('p')] = {{id('q'), 10}};
    chain[id('z')] = {{kEnd, 10}};
    chain[kEnd] = {{id('a'), 10}};
    testing::write_chain(dir_ / "m.gguf", chain);
    model_.emplace(Model::load(dir_ / "m.gguf", {}));
    cache_.emplace(model_->make_cache(40));
  }

  GenerateResult generate(const Ids& prompt, const GenerateOptions& options,
                          const OnText& on_text = {}, const std::stop_token& stop = {}) {
    Sampler sampler({.temperature = 0}, kernels::best_kernels());
    return runtime::generate(*model_, *cache_, prompt, sampler, options, on_text, stop);
  }

  static GenerateOptions with(std::int64_t max_tokens, std::vector<std::string> stop = {}) {
    GenerateOptions options;
    options.max_tokens = max_tokens;
    options.stop = std::move(stop);
    return options;
  }

  testing::TempDir dir_;
  std::optional<Model> model_;
  std::optional<KvCache> cache_;
};

TEST_F(Generator, EndsAtTheEndToken) {
  std::string shown;
  const GenerateResult result = generate({1, id('v')}, {}, [&](std::string_view text) {
    shown += text;
    return true;
  });
  EXPECT_EQ(result.reason, FinishReason::kEnd);
  EXPECT_EQ(result.tokens, (Ids{id('w'), id('x'), id('y'), id('z')}));
  EXPECT_EQ(result.text, "wxyz");
  EXPECT_EQ(shown, "wxyz");
  EXPECT_EQ(result.prompt_tokens, 2);
  EXPECT_EQ(cache_->length(), 6);
}

TEST_F(Generator, GoesOnAfterTheEndTokenWhenAsked) {
  GenerateOptions options = with(4);
  options.ignore_end = true;
  const GenerateResult result = generate({id('y')}, options);
  EXPECT_EQ(result.reason, FinishReason::kLength);
  EXPECT_EQ(result.tokens, (Ids{id('z'), kEnd, id('a'), id('b')}));
  EXPECT_EQ(result.text, "zab");  // control tokens are not text
}

TEST_F(Generator, StopsAtTheLengthAndGoesOnFromTheCache) {
  EXPECT_EQ(generate({id('a')}, with(0)).tokens, Ids{});
  EXPECT_EQ(cache_->length(), 1);
  cache_->truncate(0);
  const GenerateResult first = generate({id('a')}, with(3));
  EXPECT_EQ(first.reason, FinishReason::kLength);
  EXPECT_EQ(first.text, "bcd");
  EXPECT_EQ(cache_->length(), 3);  // "d" was never run
  EXPECT_EQ(generate({id('d')}, with(2)).text, "ef");
}

TEST_F(Generator, EndsBeforeAStopText) {
  std::string shown;
  const GenerateResult result = generate({id('a')}, with(-1, {"gx", "efg"}), [&](auto text) {
    shown += text;
    return true;
  });
  EXPECT_EQ(result.reason, FinishReason::kStopText);
  EXPECT_EQ(result.text, "bcd");
  EXPECT_EQ(shown, "bcd");
}

TEST_F(Generator, EndsWhenTheContextIsFull) {
  cache_.emplace(model_->make_cache(5));
  const GenerateResult result = generate({id('a'), id('b')}, {});
  EXPECT_EQ(result.reason, FinishReason::kContext);
  EXPECT_EQ(result.text, "cdef");  // the last follows a full cache
  EXPECT_EQ(cache_->length(), 5);
  cache_.emplace(model_->make_cache(5));
  EXPECT_EQ(generate({id('a'), id('b')}, with(4)).reason, FinishReason::kLength);
}

TEST_F(Generator, CanBeInterrupted) {
  int calls = 0;
  const GenerateResult by_reader =
      generate({id('a')}, {}, [&](std::string_view) { return ++calls < 3; });
  EXPECT_EQ(by_reader.reason, FinishReason::kInterrupted);
  EXPECT_EQ(by_reader.text, "bcd");

  cache_->truncate(0);
  std::stop_source source;
  const GenerateResult by_token = generate(
      {id('a')}, {}, [&](std::string_view) { return source.request_stop(); }, source.get_token());
  EXPECT_EQ(by_token.reason, FinishReason::kInterrupted);
  EXPECT_EQ(by_token.text, "b");

  cache_->truncate(0);
  EXPECT_EQ(generate({id('a')}, {}, {}, source.get_token()).tokens, Ids{});
  EXPECT_EQ(cache_->length(), 0);  // not even the prompt
}

TEST_F(Generator, ThePenaltyCountsPromptResultAndHistory) {
  Sampler sampler({.temperature = 0, .repeat_penalty = 2}, kernels::best_kernels());
  const auto next = [&](const Ids& prompt, const Ids& history) {
    cache_->truncate(0);
    GenerateOptions options = with(1);
    options.history = history;
    return runtime::generate(*model_, *cache_, prompt, sampler, options, {}, {}).text;
  };
  EXPECT_EQ(next({id('b')}, {}), "c");
  EXPECT_EQ(next({id('b')}, {id('c')}), "q");
  EXPECT_EQ(next({id('c'), id('b')}, {}), "q");
  EXPECT_EQ(next({id('b')}, {id('c'), id('q')}), "c");
  // After its own "c" the prompt's "d" gives way.
  cache_->truncate(0);
  GenerateOptions options = with(3);
  EXPECT_EQ(
      runtime::generate(*model_, *cache_, Ids{id('d'), id('b')}, sampler, options, {}, {}).text,
      "cqr");
}

TEST_F(Generator, NeverSaysAnUnusedToken) {
  // In the middle of the vocabulary, where their logits are masked, and at its end.
  const Ids unused = {id('c'), id('d'), 35, 36};
  testing::Chain chain;
  for (const TokenId from : {id('a'), id('b')}) {
    chain[from] = {{id('b'), 1}};
    for (const TokenId to : unused) chain[from][to] = 10;
  }
  testing::write_chain(dir_ / "used.gguf", chain);
  testing::mark_unused(dir_ / "used.gguf", dir_ / "unused.gguf", unused);
  const auto say = [&](const char* name, const SamplerOptions& options) {
    Model model = Model::load(dir_ / name, {});
    KvCache cache = model.make_cache(40);
    Sampler sampler(options, model.kernels());
    return runtime::generate(model, cache, Ids{id('a')}, sampler, with(30), {}, {}).tokens;
  };
  EXPECT_THAT(say("used.gguf", {.temperature = 0}), ::testing::Contains(id('c')));
  EXPECT_EQ(say("unused.gguf", {.temperature = 0}), Ids(30, id('b')));
  SamplerOptions all;  // tokens of logit 0 as well
  all.temperature = 20;
  all.top_k = 0;
  all.top_p = 1;
  all.min_p = 0;
  for (all.seed = 0; all.seed < 20; ++all.seed) {
    for (const TokenId token : say("unused.gguf", all)) {
      EXPECT_THAT(unused, ::testing::Not(::testing::Contains(token)));
    }
  }
}

TEST_F(Generator, RefusesAPromptThatCannotRun) {
  const auto message = [&](ErrorCode code, const Ids& prompt, const GenerateOptions& options) {
    try {
      generate(prompt, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message(ErrorCode::kInvalidArgument, {}, {}),
            "prompt: found no tokens, expected at least 1");
  EXPECT_EQ(message(ErrorCode::kResource, Ids(41, id('a')), {}),
            "prompt: found 41 tokens, expected at most the 40 left of a context of 40");
  EXPECT_THAT(message(ErrorCode::kInvalidArgument, {id('a')}, with(3, {""})), HasSubstr("stop"));
  EXPECT_EQ(cache_->length(), 0);
}

}  // namespace
}  // namespace onebit::runtime
