// Self-generated text: its recipe, and what must not change it.
#include "runtime/synth.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/test_paths.h"
#include "runtime/test_chain.h"

namespace onebit::runtime {
namespace {

using text::TokenId;
using Ids = std::vector<TokenId>;

constexpr TokenId kBos = 1;
constexpr TokenId kEnd = 2;
constexpr TokenId kFirst = 3;  // of the ordinary tokens, 34 of them
constexpr TokenId kVocab = 37;

class Synth : public ::testing::Test {
 protected:
  /// A random model, whose texts end now and then.
  std::filesystem::path random_path() {
    std::filesystem::path path = dir_ / "random.gguf";
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 11), path,
        formats::DType::kF32, /*tokenizer=*/true);
    return path;
  }

  std::vector<SynthSample> synthesize(Model& model, const SynthOptions& options) {
    std::vector<SynthSample> samples;
    NoProgress progress;
    totals_ = runtime::synthesize(model, options,
                                  [&](const SynthSample& sample) { samples.push_back(sample); },
                                  progress, {});
    return samples;
  }

  static SynthOptions with(std::int64_t samples, std::int64_t length, std::uint64_t seed = 1) {
    SynthOptions options;
    options.samples = samples;
    options.length = length;
    options.sampling.seed = seed;
    return options;
  }

  static std::vector<Ids> ids(const std::vector<SynthSample>& samples) {
    std::vector<Ids> result;
    result.reserve(samples.size());
    for (const SynthSample& s : samples) result.push_back(s.tokens);
    return result;
  }

  testing::TempDir dir_;
  SynthTotals totals_;
};

TEST_F(Synth, SeedAndNumberAloneDecide) {
  const std::filesystem::path path = random_path();
  Model model = Model::load(path, {.threads = 1, .isa = {}});
  SynthOptions options = with(20, 40);
  options.batch = 7;
  const std::vector<Ids> expected = ids(synthesize(model, options));
  EXPECT_EQ(totals_.samples, 20);
  std::int64_t tokens = 0;
  bool early = false;
  for (const Ids& sample : expected) {
    tokens += std::ssize(sample);
    early |= std::ssize(sample) < 40;
  }
  EXPECT_TRUE(early) << "no text that makes room for another: the test has no power";
  EXPECT_EQ(totals_.tokens, tokens);
  EXPECT_EQ(totals_.generated, tokens - 20 * 2);  // BOS and the drawn token are not
  for (const int threads : {1, 2}) {
    for (const std::int64_t batch : {0, 1, 4}) {
      Model other = Model::load(path, {.threads = threads, .isa = {}});
      options.batch = batch;
      EXPECT_EQ(ids(synthesize(other, options)), expected) << threads << " threads, " << batch;
    }
  }
  // Fewer samples are the first of them; another seed gives others.
  options.samples = 5;
  EXPECT_EQ(ids(synthesize(model, options)),
            std::vector<Ids>(expected.begin(), expected.begin() + 5));
  EXPECT_NE(ids(synthesize(model, with(5, 40, 2))), ids(synthesize(model, options)));
}

TEST_F(Synth, EverySampleFollowsTheRecipe) {
  Model model = Model::load(random_path(), {});
  const text::Tokenizer& tokenizer = model.checkpoint().tokenizer();
  SynthOptions options = with(60, 24);
  options.sampling.temperature = 50;  // nearly uniform, so that a likeliest token is no accident
  std::map<std::int64_t, int> greedy_runs;
  for (const SynthSample& sample : synthesize(model, options)) {
    ASSERT_GE(sample.tokens.size(), 3U);
    ASSERT_LE(sample.tokens.size(), 24U);
    EXPECT_EQ(sample.tokens[0], kBos);
    EXPECT_GE(sample.tokens[1], kFirst);
    for (std::size_t i = 1; i + 1 < sample.tokens.size(); ++i) EXPECT_NE(sample.tokens[i], kEnd);
    EXPECT_TRUE(sample.tokens.size() == 24 || sample.tokens.back() == kEnd);
    EXPECT_EQ(sample.text, tokenizer.decode(sample.tokens, /*skip_special=*/true));
    KvCache cache = model.make_cache(24);
    model.forward({&kBos, 1}, cache);
    Sampler sampler({}, model.kernels());
    std::int64_t run = 0;
    while (run + 2 < std::ssize(sample.tokens)) {
      const auto at = static_cast<std::size_t>(run) + 1;
      const std::span<const float> logits = model.forward({&sample.tokens[at], 1}, cache);
      if (sampler.likeliest(logits) != sample.tokens[at + 1]) break;
      ++run;
    }
    if (sample.tokens.back() != kEnd || run + 2 < std::ssize(sample.tokens)) {
      EXPECT_GE(run, options.greedy_least);
      ++greedy_runs[run];
    }
  }
  // 3, 4 and 5 come up; longer runs only as often as the sampler hits the likeliest of 37.
  int longer = 0;
  for (const auto& [run, count] : greedy_runs) longer += run > options.greedy_most ? count : 0;
  EXPECT_GT(greedy_runs[3], 0);
  EXPECT_GT(greedy_runs[4], 0);
  EXPECT_GT(greedy_runs[5], 0);
  EXPECT_LE(longer, 10);
}

TEST_F(Synth, FirstTokensAreDrawnEvenlyAmongOrdinaryOnes) {
  Model model = Model::load(random_path(), {});
  constexpr int kSamples = 6800;
  std::map<TokenId, int> counts;
  for (const SynthSample& sample : synthesize(model, with(kSamples, 2))) {
    ASSERT_EQ(sample.tokens.size(), 2U);
    ++counts[sample.tokens[1]];
  }
  const double share = 1.0 / (kVocab - kFirst);
  const double deviation = std::sqrt(kSamples * share * (1 - share));
  EXPECT_EQ(std::ssize(counts), kVocab - kFirst);
  for (const auto& [id, count] : counts) {
    EXPECT_NEAR(count, kSamples * share, 4.5 * deviation) << "id " << id;
  }
}

TEST_F(Synth, UnusedTokensAreNeitherDrawnNorSaid) {
  const Ids unused = {20, 21, 35, 36};
  testing::Chain chain;
  for (TokenId t = kFirst; t < kVocab; ++t) {
    for (const TokenId to : unused) chain[t][to] = 10;
  }
  testing::write_chain(dir_ / "used.gguf", chain);
  testing::mark_unused(dir_ / "used.gguf", dir_ / "m.gguf", unused);
  Model model = Model::load(dir_ / "m.gguf", {});
  for (const SynthSample& sample : synthesize(model, with(200, 12))) {
    for (const TokenId token : sample.tokens) {
      EXPECT_EQ(std::count(unused.begin(), unused.end(), token), 0) << "id " << token;
    }
  }
}

TEST_F(Synth, SamplesComeInOrderHoweverTheyEnd) {
  // Lower ids end at once, the others say "z" for ever: a short text overtakes a long one.
  testing::Chain chain;
  for (TokenId t = kFirst; t < kVocab; ++t) chain[t] = {{29, 10.0F}};
  for (TokenId t = kFirst; t < 20; ++t) chain[t] = {{kEnd, 10.0F}};
  testing::write_chain(dir_ / "m.gguf", chain);
  Model model = Model::load(dir_ / "m.gguf", {});
  SynthOptions options = with(40, 12);
  options.batch = 5;
  options.sampling.temperature = 0;
  std::int64_t ended = 0;
  for (const SynthSample& sample : synthesize(model, options)) {
    const bool is_short = sample.tokens[1] < 20;
    ended += is_short ? 1 : 0;
    EXPECT_EQ(std::ssize(sample.tokens), is_short ? 3 : 12);
    EXPECT_EQ(sample.tokens.back(), is_short ? kEnd : 29);
  }
  EXPECT_GT(ended, 5);
  EXPECT_LT(ended, 35);
  options.batch = 1;
  const std::vector<Ids> alone = ids(synthesize(model, options));
  options.batch = 5;
  EXPECT_EQ(ids(synthesize(model, options)), alone);
}

TEST_F(Synth, StopsWhenAsked) {
  Model model = Model::load(random_path(), {});
  std::stop_source source;
  NoProgress progress;
  SynthOptions options = with(10, 8);
  options.batch = 2;
  const auto stop_after_one = [&](const SynthSample&) { source.request_stop(); };
  try {
    runtime::synthesize(model, options, stop_after_one, progress, source.get_token());
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInterrupted);
  }
}

TEST_F(Synth, ABrokenModelIsAnErrorOfItsOwn) {
  arch::test_models::TinyModel model =
      arch::test_models::random_model(arch::test_models::tiny_config(), 11);
  model.weights.at({arch::Role::kOutputNorm, -1})[0] = std::numeric_limits<float>::quiet_NaN();
  arch::test_models::write_gguf(model, dir_ / "nan.gguf", formats::DType::kF32, true);
  Model broken = Model::load(dir_ / "nan.gguf", {.threads = 3, .isa = {}});
  try {
    synthesize(broken, with(10, 8));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNumeric);
  }
}

TEST_F(Synth, RefusesOptionsOutsideTheirRange) {
  Model model = Model::load(random_path(), {});
  const std::vector<std::pair<const char*, std::function<void(SynthOptions&)>>> spoil = {
      {"samples: found -1, expected 0 to 2147483648", [](auto& o) { o.samples = -1; }},
      {"length of a sample: found 1, expected 2 to 64", [](auto& o) { o.length = 1; }},
      {"length of a sample: found 65, expected 2 to 64", [](auto& o) { o.length = 65; }},
      {"batch: found -1, expected 0 to 4096", [](auto& o) { o.batch = -1; }},
      {"greedy tokens: found -1, expected 0 to 64", [](auto& o) { o.greedy_least = -1; }},
      {"greedy tokens at most: found 2, expected 3 to 64", [](auto& o) { o.greedy_most = 2; }},
      {"temperature: found -1, expected 0 or more", [](auto& o) { o.sampling.temperature = -1; }}};
  for (const auto& [message, change] : spoil) {
    SynthOptions options = with(3, 16);
    change(options);
    try {
      synthesize(model, options);
      ADD_FAILURE() << "no error: " << message;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      EXPECT_STREQ(e.what(), message);
    }
  }
  EXPECT_TRUE(synthesize(model, with(0, 16)).empty());
}

TEST_F(Synth, StoriesAreStories) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  Model model = Model::load(testing::model("stories260k.gguf"), {});
  const SynthOptions options = with(24, 128, 3);
  std::int64_t known = 0;
  std::int64_t words = 0;
  for (const SynthSample& sample : synthesize(model, options)) {
    EXPECT_EQ(sample.tokens[0], model.checkpoint().tokenizer().bos());
    for (const char* word : {" the ", " to ", " and ", " was ", " a "}) {
      for (auto at = sample.text.find(word); at != std::string::npos;
           at = sample.text.find(word, at + 1)) {
        ++known;
      }
    }
    words += std::count(sample.text.begin(), sample.text.end(), ' ');
  }
  // The five are a fifth of the words of such stories; of random tokens they would be none.
  EXPECT_GT(known * 10, words);
}

TEST(SynthBatch, FitsTheMemoryForKeysAndValues) {
  arch::ModelConfig config = arch::test_models::tiny_config();
  EXPECT_EQ(default_batch(config, 64, KvType::kF32), 96);
  config.layers = 32;
  config.kv_heads = 32;
  config.head_dim = 128;
  EXPECT_EQ(default_batch(config, 512, KvType::kF32),
            4);  // 2 · 4 bytes · 32 · 4096 · 512 is 512 MiB
  EXPECT_EQ(default_batch(config, 512, KvType::kF16), 8);
  EXPECT_EQ(default_batch(config, 1 << 20, KvType::kF16), 1);  // what does not fit either
}

}  // namespace
}  // namespace onebit::runtime
