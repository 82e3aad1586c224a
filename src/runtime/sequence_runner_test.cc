// Sequences run together give what each gives alone, bit for bit, whatever they share, whatever an
// earlier call has left, and however little memory there is; and they cost no more than planned.
#include "runtime/sequence_runner.h"

#include <algorithm>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "runtime/test_logits.h"
#include "runtime/test_sequences.h"

namespace onebit::runtime {
namespace {

using testing::all_logits;
using testing::Case;
using testing::Floats;
using ::testing::HasSubstr;
using testing::Ids;
using testing::long_config;
using testing::message_of;
using testing::random_tokens;
using testing::views;

/// Runs them and compares with each alone. Returns how many tokens passed through the layers.
std::int64_t expect_as_alone(Model& model, SequenceRunner& runner, const std::vector<Case>& cases) {
  const std::int64_t before = runner.tokens_run();
  std::vector<std::vector<Floats>> found(cases.size());
  runner.run(views(cases),
             [&](std::size_t index, std::int64_t position, std::span<const float> logits) {
               EXPECT_EQ(position, cases[index].first + std::ssize(found[index]));
               found[index].emplace_back(logits.begin(), logits.end());
             });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::vector<Floats> alone = all_logits(model, cases[i].tokens);
    const std::int64_t wanted =
        std::max(std::ssize(cases[i].tokens) - cases[i].first, std::int64_t{0});
    EXPECT_EQ(found[i], std::vector<Floats>(alone.end() - wanted, alone.end())) << "sequence " << i;
  }
  return runner.tokens_run() - before;
}

Ids joined(const Ids& a, const Ids& b) {
  Ids result = a;
  result.insert(result.end(), b.begin(), b.end());
  return result;
}

class Runner : public ::testing::Test {
 protected:
  Model load(const ModelOptions& options = {.threads = 2, .isa = {}}) {
    const std::filesystem::path path = dir_ / "m.gguf";
    arch::test_models::write_gguf(arch::test_models::random_model(long_config(), 5), path);
    return Model::load(path, options);
  }

  Ids random(std::int64_t count) { return random_tokens(count, long_config().vocab, seed_++); }

  /// `documents` beginnings of `length` tokens, each with four endings of which all is wanted.
  std::vector<Case> documents(std::int64_t documents, std::int64_t length) {
    std::vector<Case> result;
    for (std::int64_t d = 0; d < documents; ++d) {
      const Ids beginning = random(length);
      for (const std::int64_t ending : {1, 7, 20, 12}) {
        Ids tokens = joined(beginning, random(ending));
        tokens[static_cast<std::size_t>(length)] = static_cast<text::TokenId>(ending);
        result.push_back({std::move(tokens), length - 1});
      }
    }
    return result;
  }

  /// Whole caches of a full context.
  static std::uint64_t room(std::uint64_t caches) {
    return caches * KvCache::bytes(long_config(), 256, KvType::kF16);
  }

  testing::TempDir dir_;
  std::uint64_t seed_ = 20;
};

TEST_F(Runner, DocumentsAndTheirEndings) {
  for (const std::int64_t chunk : {32, 512}) {
    Model model = load({.threads = 2, .isa = {}, .prompt_chunk = chunk});
    for (const std::uint64_t caches : {0, 1, 2, 5, 100}) {
      SCOPED_TRACE(fmt::format("passes of {}, room for {}", chunk, caches));
      SequenceRunner runner(model, room(caches));
      // Four endings of 40 tokens in all.
      EXPECT_EQ(expect_as_alone(model, runner, documents(9, 61)), 9 * (61 + 40));
    }
  }
}

TEST_F(Runner, EveryKindOfCache) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    Model model = load({.threads = 2, .kv = type, .isa = {}});
    SequenceRunner runner(model);
    expect_as_alone(model, runner, documents(3, 64));
    expect_as_alone(model, runner, documents(3, 65));
  }
}

TEST_F(Runner, OneOfEachSize) {
  Model model = load({.threads = 2, .isa = {}, .prompt_chunk = 16});
  SequenceRunner runner(model);
  const Ids whole = random(256);
  std::vector<Case> cases;
  for (const std::ptrdiff_t length : {1, 15, 16, 17, 64, 256}) {
    cases.push_back({Ids(whole.begin(), whole.begin() + length), length - 1});
    cases.push_back({random(length), 0});
    cases.push_back({random(length), length});  // of which nothing is wanted
  }
  EXPECT_EQ(expect_as_alone(model, runner, cases), 256 + 1 + 15 + 16 + 17 + 64 + 256);
  EXPECT_EQ(expect_as_alone(model, runner, {}), 0);
  EXPECT_EQ(expect_as_alone(model, runner, {{random(5), 9}}), 0);
}

TEST_F(Runner, ExamplesStayForTheNextCall) {
  Model model = load();
  for (const std::uint64_t caches : {1, 4, 100}) {
    SCOPED_TRACE(fmt::format("room for {}", caches));
    SequenceRunner runner(model, room(caches));
    const Ids header = random(20);
    const Ids examples = joined(header, random(100));
    const Ids others = joined(header, random(90));
    const auto questions = [&](const Ids& before, int count) {
      std::vector<Case> result;
      for (int i = 0; i < count; ++i) {
        const Ids question = joined(before, random(30));
        for (int answer = 0; answer < 4; ++answer) {
          result.push_back({question, std::ssize(question) - 1});
        }
      }
      return result;
    };
    EXPECT_EQ(expect_as_alone(model, runner, questions(examples, 3)), 120 + 3 * 30);
    EXPECT_EQ(expect_as_alone(model, runner, questions(examples, 3)), 3 * 30);
    EXPECT_EQ(expect_as_alone(model, runner, questions(examples, 1)), 30);
    EXPECT_EQ(expect_as_alone(model, runner, questions(examples, 2)), 2 * 30);
    // Both kinds at once; then the new one alone.
    std::vector<Case> both = questions(examples, 2);
    for (Case& c : questions(others, 2)) both.push_back(std::move(c));
    const std::int64_t run = expect_as_alone(model, runner, both);
    const std::int64_t again = expect_as_alone(model, runner, questions(others, 2));
    if (caches > 1) {
      EXPECT_EQ(run, 90 + 4 * 30);
      EXPECT_EQ(again, 2 * 30);
    }
    // All of what is held is wanted too: nothing of it can be left out.
    EXPECT_EQ(expect_as_alone(model, runner, {{others, 0}}), std::ssize(others));
  }
}

TEST_F(Runner, RandomSequencesInLittleMemory) {
  Model model = load({.threads = 3, .isa = {}, .prompt_chunk = 40});
  Rng rng(6);
  for (const std::uint64_t caches : {0, 2, 3, 9}) {
    SequenceRunner runner(model, room(caches));
    for (int round = 0; round < 8; ++round) {
      SCOPED_TRACE(fmt::format("room for {}, round {}", caches, round));
      std::vector<Case> cases;
      for (int i = 0; i < 24; ++i) {
        Ids tokens;
        if (!cases.empty() && rng.below(4) > 0) {
          const Ids& other = cases[rng.below(cases.size())].tokens;
          tokens.assign(other.begin(),
                        other.begin() + static_cast<std::ptrdiff_t>(rng.below(other.size() + 1)));
        }
        const auto most = static_cast<std::int64_t>(std::min<std::size_t>(
            60, static_cast<std::size_t>(long_config().context) - tokens.size()));
        if (most > 0) {
          tokens = joined(
              tokens,
              random(static_cast<std::int64_t>(1 + rng.below(static_cast<std::uint64_t>(most)))));
        }
        const auto first = static_cast<std::int64_t>(rng.below(tokens.size() + 2));
        cases.push_back({std::move(tokens), first});
      }
      expect_as_alone(model, runner, cases);
    }
  }
}

TEST_F(Runner, ThreadsChangeNothing) {
  Model one = load({.threads = 1, .isa = {}});
  Model four = load({.threads = 4, .isa = {}});
  const std::vector<Case> cases = documents(4, 70);
  SequenceRunner runner(four);
  std::vector<std::vector<Floats>> found(cases.size());
  runner.run(views(cases), [&](std::size_t index, std::int64_t, std::span<const float> logits) {
    found[index].emplace_back(logits.begin(), logits.end());
  });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::vector<Floats> alone = all_logits(one, cases[i].tokens);
    EXPECT_EQ(found[i], std::vector<Floats>(alone.begin() + cases[i].first, alone.end()));
  }
}

TEST_F(Runner, ASinkMayThrow) {
  Model model = load();
  SequenceRunner runner(model, room(3));
  const std::vector<Case> cases = documents(5, 40);
  for (const int after : {1, 9, 60}) {
    int rows = 0;
    EXPECT_THROW(runner.run(views(cases),
                            [&](std::size_t, std::int64_t, std::span<const float>) {
                              if (++rows == after) throw std::runtime_error("enough");
                            }),
                 std::runtime_error);
    expect_as_alone(model, runner, cases);
  }
}

TEST_F(Runner, WhatCannotRunIsNamedBeforeAnythingRuns) {
  Model model = load();
  SequenceRunner runner(model);
  const auto says = [&](const std::vector<Case>& cases) {
    return message_of(ErrorCode::kInvalidArgument, [&] {
      runner.run(views(cases), [](std::size_t, std::int64_t, std::span<const float>) {
        ADD_FAILURE() << "something ran";
      });
    });
  };
  EXPECT_THAT(says({{{1}, 0}, {{2}, 0}, {{3, 37}, 0}}), HasSubstr("sequence 2 of 3: token 1 of 2"));
  EXPECT_THAT(says({{{1}, 0}, {random(257), 256}}),
              HasSubstr("sequence 1 of 2: found 257 tokens, expected at most 256"));
  EXPECT_EQ(runner.tokens_run(), 0);
}

TEST(RunnerOfStories, RealTokens) {
  const std::filesystem::path path = testing::model("stories260k.gguf");
  ONEBIT_REQUIRE_FILE(path);
  const Ids text = nlohmann::json::parse(read_file(testing::golden("logits/stories260k.json")))
                       .at("tokens")
                       .get<Ids>();
  for (const Activations activations : {Activations::kF32, Activations::kI8}) {
    Model model = Model::load(path, {.threads = 2, .activations = activations, .isa = {}});
    SequenceRunner runner(model);
    std::vector<Case> cases;
    const auto begin = text.begin();
    for (std::ptrdiff_t at = 10; at + 10 < std::ssize(text); at += 9) {
      for (const std::ptrdiff_t ending : {1, 5, 10}) {
        Ids tokens(begin, begin + at);
        tokens.insert(tokens.end(), text.rbegin(), text.rbegin() + ending);
        cases.push_back({std::move(tokens), at - 1});
      }
    }
    std::int64_t all = 0;
    for (const Case& c : cases) all += std::ssize(c.tokens);
    EXPECT_LT(4 * expect_as_alone(model, runner, cases), all);
  }
}

}  // namespace
}  // namespace onebit::runtime
