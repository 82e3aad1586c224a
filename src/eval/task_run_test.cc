// From documents to figures with a model that is a formula: plans, scores, samples, means.
#include "eval/task_run.h"

#include <cmath>
#include <gmock/gmock.h>
#include <limits>
#include <map>

#include "base/rng.h"
#include "eval/log_softmax.h"
#include "eval/task_result.h"
#include "eval/test_eval.h"

namespace onebit::eval {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using text::TokenId;

constexpr std::size_t kVocabulary = 260;

/// The logits after a sequence: noise that depends on all of it.
std::vector<float> noise(std::span<const TokenId> tokens) {
  std::uint64_t seed = 7;
  for (const TokenId token : tokens) seed = seed * 1000003 + static_cast<std::uint64_t>(token);
  Rng rng(seed);
  std::vector<float> row(kVocabulary);
  for (float& z : row) z = static_cast<float>(rng.uniform() * 12 - 6);
  return row;
}

class FakeScorer final : public Scorer {
 public:
  std::int64_t vocab_size() const override { return kVocabulary; }
  std::int64_t context() const override { return 100; }
  void score(std::span<const TokenId> tokens, std::int64_t first, const LogitsSink& sink) override {
    ++runs;
    for (auto p = first; p < static_cast<std::int64_t>(tokens.size()); ++p) {
      std::vector<float> row = noise(tokens.first(static_cast<std::size_t>(p) + 1));
      if (rows++ == break_row) row[5] = broken;
      if (rows == stop_row) stop.request_stop();
      sink(p, row);
    }
  }

  int runs = 0;
  int rows = 0;
  int break_row = -1;
  float broken = 0;
  int stop_row = -1;
  std::stop_source stop;
};

/// The definition, one request at a time.
ChoiceScore direct(const Request& request) {
  ChoiceScore score = {.tokens = static_cast<std::int64_t>(request.continuation.size()),
                       .greedy = true};
  std::vector<TokenId> tokens = request.context;
  for (const TokenId next : request.continuation) {
    const auto row = noise(tokens);
    long double sum = 0;
    for (const float z : row) sum += std::exp(static_cast<long double>(z));
    score.loglikelihood += static_cast<double>(row[static_cast<std::size_t>(next)] - std::log(sum));
    const auto top = std::max_element(row.begin(), row.end()) - row.begin();
    score.greedy = score.greedy && top == next;
    tokens.push_back(next);
  }
  return score;
}

TaskData piqa(int count) {
  TaskData data;
  data.task = find_task("piqa");
  for (int i = 0; i < count; ++i) {
    data.documents.push_back({.context = "Question: " + std::string(i % 7, 'x') + "\nAnswer:",
                              .choices = {std::string(1 + i % 3, 'a'), i % 2 == 0 ? "b" : "ab c"},
                              .target = static_cast<std::size_t>(i % 2)});
  }
  data.available = count;
  return data;
}

TaskPlan plan_of(TaskData data, std::int64_t context = 100) {
  ThreadPool pool(2);
  NoProgress progress;
  return plan_task(std::move(data), *testing::make_tokenizer(true), {.context = context}, pool,
                   progress, {});
}

std::vector<Sample> run(const TaskPlan& plan, FakeScorer& scorer, int threads = 2,
                        std::size_t begin = 0) {
  ThreadPool pool(threads);
  DocumentScorer documents(scorer, pool);
  std::vector<Sample> samples;
  score_task(
      plan, begin, documents,
      [&](const std::vector<Sample>& batch) {
        EXPECT_LE(batch.size(), static_cast<std::size_t>(kBatchDocuments));
        samples.insert(samples.end(), batch.begin(), batch.end());
      },
      scorer.stop.get_token());
  return samples;
}

TEST(TaskRun, ScoresAreTheDefinitions) {
  // More documents than a batch, more rows than are reduced together.
  const TaskPlan plan = plan_of(piqa(70));
  FakeScorer scorer;
  const auto samples = run(plan, scorer);
  ASSERT_EQ(samples.size(), 70U);
  const auto tokenizer = testing::make_tokenizer(true);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Document& doc = plan.data.documents[i];
    const auto requests = encode(make_prompts(*plan.data.task, doc, ""), *tokenizer);
    EXPECT_EQ(samples[i].task, "piqa");
    EXPECT_EQ(samples[i].document, static_cast<std::int64_t>(i));
    EXPECT_EQ(samples[i].target, doc.target);
    EXPECT_FALSE(samples[i].truncated);
    ASSERT_EQ(samples[i].choices.size(), 2U);
    for (std::size_t c = 0; c < 2; ++c) {
      const ChoiceScore expected = direct(requests[c]);
      const ChoiceScore& found = samples[i].choices[c];
      // log_softmax.h's bound, a token.
      EXPECT_NEAR(found.loglikelihood, expected.loglikelihood, 8 * 0x1p-24 * expected.tokens);
      EXPECT_EQ(found.tokens, expected.tokens);
      EXPECT_EQ(found.greedy, expected.greedy);
      EXPECT_EQ(found.characters, static_cast<std::int64_t>(doc.choices[c].size()));
    }
  }
}

TEST(TaskRun, ThreadsAndWhereItBeginsDoNotMatter) {
  const TaskPlan plan = plan_of(piqa(70));
  FakeScorer scorer;
  const auto one = run(plan, scorer, 1);
  EXPECT_EQ(run(plan, scorer, 3), one);
  const auto rest = run(plan, scorer, 2, 32);
  EXPECT_EQ(rest, std::vector<Sample>(one.begin() + 32, one.end()));
  EXPECT_TRUE(run(plan, scorer, 2, 70).empty());
}

TEST(TaskRun, FewestRuns) {
  TaskData data;
  data.task = find_task("boolq");
  data.documents = {{.context = "p\nQuestion: q?\nAnswer:", .choices = {"a", "ab"}, .target = 0}};
  FakeScorer scorer;
  run(plan_of(std::move(data)), scorer);
  EXPECT_EQ(scorer.runs, 1);
  EXPECT_EQ(scorer.rows, 1);
}

TEST(TaskRun, TruncationIsReported) {
  TaskData data = piqa(2);
  data.documents[1].context = "Question: " + std::string(40, 'x') + "\nAnswer:";
  const TaskPlan plan = plan_of(std::move(data), 40);
  FakeScorer scorer;
  const auto samples = run(plan, scorer);
  EXPECT_FALSE(samples[0].truncated);
  EXPECT_TRUE(samples[1].truncated);
  EXPECT_EQ(summarize(*plan.data.task, samples).truncated, 1);
}

TEST(TaskRun, ErrorsNameTheDocument) {
  TaskData data = piqa(300);
  data.documents[280].choices[1] = std::string(60, 'x');
  EXPECT_EQ(error_of(ErrorCode::kUnsupported, [&] { plan_of(data, 50); }),
            "piqa, document 280: found a choice of 61 tokens, expected at most 50, the context");
  const TaskPlan plan = plan_of(piqa(70));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    FakeScorer scorer;
    scorer.broken = bad;
    scorer.break_row = 0;
    EXPECT_THAT(error_of(ErrorCode::kNumeric, [&] { run(plan, scorer, 2, 32); }),
                HasSubstr("piqa: document 32: found logits of NaN or infinity at position"));
  }
}

TEST(TaskRun, StopsWhenAsked) {
  const TaskPlan plan = plan_of(piqa(70));
  FakeScorer scorer;
  scorer.stop_row = 100;
  ThreadPool pool(2);
  DocumentScorer documents(scorer, pool);
  std::size_t scored = 0;
  EXPECT_THAT(error_of(ErrorCode::kInterrupted,
                       [&] {
                         score_task(
                             plan, 0, documents,
                             [&](const std::vector<Sample>& batch) { scored += batch.size(); },
                             scorer.stop.get_token());
                       }),
              HasSubstr("interrupted"));
  EXPECT_EQ(scored % static_cast<std::size_t>(kBatchDocuments), 0U);
  EXPECT_LT(scored, 70U);
  const auto all =
      run(plan, *std::make_unique<FakeScorer>());  // the scorer itself is none the worse
  EXPECT_EQ(all.size(), 70U);
}

// ---- judging ----

std::vector<ChoiceScore> scores(std::initializer_list<std::pair<double, int>> values) {
  std::vector<ChoiceScore> result;
  for (const auto& [loglikelihood, characters] : values) {
    result.push_back({.loglikelihood = loglikelihood, .tokens = 1, .characters = characters});
  }
  return result;
}

TEST(Judge, BestAndBestByCharacters) {
  const Task& task = *find_task("piqa");
  const Sample plain = judge(task, 3, 0, scores({{-2, 1}, {-3, 10}}), false);
  EXPECT_EQ(plain.acc, 1);
  EXPECT_EQ(plain.acc_norm, 0);
  EXPECT_EQ(judge(task, 3, 1, scores({{-2, 1}, {-3, 10}}), false).acc_norm, 1);
  EXPECT_EQ(judge(*find_task("boolq"), 3, 1, scores({{-2, 1}, {-3, 10}}), false).acc_norm,
            std::nullopt);
}

TEST(Judge, TheFirstOfEqualsWins) {
  const Task& task = *find_task("piqa");
  EXPECT_EQ(judge(task, 0, 0, scores({{-2, 2}, {-2, 2}}), false).acc, 1);
  EXPECT_EQ(judge(task, 0, 1, scores({{-2, 2}, {-2, 2}}), false).acc, 0);
  EXPECT_EQ(judge(task, 0, 1, scores({{-2, 2}, {-2, 2}}), false).acc_norm, 0);
}

TEST(Judge, AnEmptyChoiceNeverWinsByCharacters) {
  EXPECT_EQ(judge(*find_task("piqa"), 0, 0, scores({{-1, 0}, {-9, 1}}), false).acc_norm, 0);
}

TEST(Judge, AContinuationIsRightWhenGreedy) {
  const Task& task = *find_task("lambada_openai");
  std::vector<ChoiceScore> one = {
      {.loglikelihood = -3, .tokens = 2, .characters = 4, .greedy = true}};
  EXPECT_EQ(judge(task, 0, 0, one, false).acc, 1);
  one[0].greedy = false;
  EXPECT_EQ(judge(task, 0, 0, one, false).acc, 0);
}

// ---- the samples file's lines ----

TEST(SampleLine, SaysWhatTheContractSays) {
  Sample sample = judge(*find_task("piqa"), 17, 1, scores({{-33.125, 41}, {-0.1, 7}}), true);
  sample.choices[1].greedy = true;
  EXPECT_EQ(to_line(sample),
            R"({"task":"piqa","doc_id":17,"target":1,"choices":[)"
            R"({"loglikelihood":-33.125,"tokens":1,"characters":41,"greedy":false},)"
            R"({"loglikelihood":-0.1,"tokens":1,"characters":7,"greedy":true}],)"
            R"("acc":1.0,"acc_norm":1.0,"truncated":true})");
}

TEST(SampleLine, ReadsWhatItWrites) {
  Rng rng(3);
  for (int i = 0; i < 50; ++i) {
    const Sample sample =
        judge(*find_task(i % 2 == 0 ? "piqa" : "boolq"), i, 0,
              scores({{-rng.uniform() * 100, i}, {-rng.uniform() * 1e-9, 3}}), i % 3 == 0);
    EXPECT_EQ(parse_line(to_line(sample)), sample);
    EXPECT_EQ(to_line(parse_line(to_line(sample))), to_line(sample));
  }
}

TEST(SampleLine, BrokenLines) {
  const std::string good =
      to_line(judge(*find_task("piqa"), 17, 1, scores({{-33.5, 41}, {-0.5, 7}}), true));
  const auto broken = [&](std::string_view from, std::string_view to) {
    std::string line = good;
    line.replace(line.find(from), from.size(), to);
    return error_of(ErrorCode::kCorrupt, [&] { parse_line(line); });
  };
  EXPECT_THAT(broken(":true}", ":true"), HasSubstr("no JSON object"));
  EXPECT_THAT(broken("\"task\":\"piqa\"", "\"task\":1"), HasSubstr("\"task\""));
  EXPECT_THAT(broken("17", "-17"), HasSubstr("\"doc_id\""));
  EXPECT_THAT(broken("17", "1e300"), HasSubstr("\"doc_id\""));
  EXPECT_THAT(broken("\"target\":1", "\"target\":2"), HasSubstr("\"target\""));
  EXPECT_THAT(broken("-33.5", "null"), HasSubstr("\"loglikelihood\""));
  EXPECT_THAT(broken("\"greedy\":false", "\"greedy\":0"), HasSubstr("\"greedy\""));
  EXPECT_THAT(broken("\"acc\":1.0", "\"acc\":0.5"), HasSubstr("\"acc\""));
  EXPECT_THAT(broken("\"choices\":[", "\"choices\":[7,"), HasSubstr("\"choices\""));
  EXPECT_THAT(broken("\"truncated\"", "\"cut\""), HasSubstr("\"truncated\""));
}

// ---- means ----

std::vector<Sample> right(const Task& task, int right, int count) {
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    samples.push_back(judge(task, i, i < right ? 0 : 1, scores({{-1, 1}, {-2, 1}}), false));
  }
  return samples;
}

TEST(Summary, MeansAndTheirErrors) {
  const Task& task = *find_task("piqa");
  const TaskResult result = summarize(task, right(task, 3, 4));
  EXPECT_EQ(result.documents, 4);
  ASSERT_EQ(result.metrics.size(), 2U);
  EXPECT_EQ(result.metrics[0].value, 0.75);
  EXPECT_NEAR(result.metrics[0].error.value(), std::sqrt((3 * 0.0625 + 0.5625) / 3 / 4), 1e-15);
  EXPECT_EQ(summarize(task, right(task, 1, 1)).metrics[0].error, std::nullopt);
}

TEST(Summary, Perplexity) {
  const Task& task = *find_task("lambada_openai");
  std::vector<Sample> samples;
  for (const double loglikelihood : {-1.0, -2.0, -6.0}) {
    samples.push_back(judge(task, 0, 0, scores({{loglikelihood, 3}}), false));
  }
  const TaskResult result = summarize(task, samples);
  EXPECT_EQ(result.metrics[0].metric, Metric::kPerplexity);
  EXPECT_NEAR(result.metrics[0].value, std::exp(3), 1e-13);
  EXPECT_NEAR(result.metrics[0].error.value(), std::exp(3) * std::sqrt((4 + 1 + 9) / 2.0 / 3),
              1e-13);
  EXPECT_EQ(result.metrics[1].value, 0);
}

TEST(Summary, GroupsWeighByDocumentsAndPoolTheirErrors) {
  const std::vector<TaskResult> tasks = {
      summarize(*find_task("mmlu_anatomy"), right(*find_task("mmlu_anatomy"), 1, 2)),
      summarize(*find_task("mmlu_virology"), right(*find_task("mmlu_virology"), 2, 6)),
      summarize(*find_task("piqa"), right(*find_task("piqa"), 5, 5))};
  const GroupResult all = summarize(*find_group("mmlu"), tasks);
  EXPECT_EQ(all.documents, 8);
  EXPECT_NEAR(all.acc.value, 3.0 / 8, 1e-15);
  // Variances 1/2 and 4/15, of n - 1 degrees of freedom each.
  EXPECT_NEAR(all.acc.error.value(), std::sqrt((1 * 0.5 + 5 * 4.0 / 15) / (8 - 2) / 8), 1e-15);
  const GroupResult stem = summarize(*find_group("mmlu_stem"), tasks);
  EXPECT_EQ(stem.documents, 2);
  EXPECT_EQ(stem.acc.value, 0.5);
  EXPECT_NEAR(stem.acc.error.value(), tasks[0].metrics[0].error.value(), 1e-15);

  const std::vector<TaskResult> single = {
      summarize(*find_task("mmlu_anatomy"), right(*find_task("mmlu_anatomy"), 1, 1))};
  EXPECT_EQ(summarize(*find_group("mmlu_stem"), single).acc.error, std::nullopt);
}

}  // namespace
}  // namespace onebit::eval
