// Token ids and log-likelihoods of real documents against lm-eval on transformers: for each task 50
// documents that tools/golden/make_tasks.py chose, and awkward ones from the whole set. The sets
// themselves are the shared data's; tools/accept/tasks.py compares all of them.
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "arch/checkpoint.h"
#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "cli/runtime_scorer.h"
#include "eval/document_scorer.h"
#include "eval/python_text.h"
#include "eval/task_data.h"
#include "runtime/model.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<text::TokenId>;

/// One of tests/golden/tasks/<task>.json's documents, and what we make of the same row.
struct Case {
  const eval::Task* task;
  std::int64_t index;
  const eval::Document* document;
  std::vector<eval::Request> requests;
  const Json* expected;
};

class LmEvalGolden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ONEBIT_REQUIRE_FILE(model_path());
    ONEBIT_REQUIRE_FILE(data_path());
    golden_ =
        Json::parse(read_file(testing::golden("tasks") / (std::string(GetParam()) + ".json")));
  }

  static std::filesystem::path model_path() { return testing::model("smollm2-135m-instruct.gguf"); }
  static std::filesystem::path data_path() { return testing::shared_data("zeroshot"); }

  std::vector<Case> cases(const char* part, const text::Tokenizer& tokenizer) {
    std::vector<Case> result;
    for (const Json& expected : golden_.at(part)) {
      const eval::TaskData& data = set(expected.at("task").get<std::string>());
      const auto index = expected.at("doc_id").get<std::int64_t>();
      const eval::Document& document = data.documents.at(static_cast<std::size_t>(index));
      // None of these tasks draws examples, so that every document has what the first has.
      const std::string before = eval::Examples(data, 0).before(0);
      const auto prompts = eval::make_prompts(*data.task, document, before);
      result.push_back({data.task, index, &document, eval::encode(prompts, tokenizer), &expected});
    }
    return result;
  }

  /// The ids of one of a document's contexts.
  Ids context(const Json& document, std::size_t index) const {
    const Json& own = document.at("contexts").at(index);
    Ids ids;
    if (own.contains("shared"))
      ids = golden_.at("shared").at(own.at("shared").get<std::size_t>()).get<Ids>();
    const Ids rest = own.at("ids").get<Ids>();
    ids.insert(ids.end(), rest.begin(), rest.end());
    return ids;
  }

  void expect_same_requests(const Case& one) const {
    SCOPED_TRACE(one.task->name + ", document " + std::to_string(one.index));
    const Json& choices = one.expected->at("choices");
    ASSERT_EQ(one.requests.size(), choices.size());
    for (std::size_t i = 0; i < choices.size(); ++i) {
      EXPECT_EQ(one.requests[i].context,
                context(*one.expected, choices[i].at("context").get<std::size_t>()));
      EXPECT_EQ(one.requests[i].continuation, choices[i].at("ids").get<Ids>());
    }
  }

  Json golden_;

 private:
  const eval::TaskData& set(const std::string& name) {
    const auto known = sets_.find(name);
    if (known != sets_.end()) return known->second;
    return sets_[name] = folder_.load(*eval::find_task(name), {});
  }

  eval::DataFolder folder_{data_path()};
  std::map<std::string, eval::TaskData> sets_;
};

TEST_P(LmEvalGolden, Requests) {
  const auto checkpoint = arch::Checkpoint::open(model_path());
  for (const char* part : {"documents", "awkward"}) {
    for (const Case& one : cases(part, checkpoint.tokenizer())) expect_same_requests(one);
  }
}

TEST_P(LmEvalGolden, LogLikelihoods) {
  runtime::ModelOptions options;
  options.activations = runtime::Activations::kF32;
  options.kv = runtime::KvType::kF32;
  runtime::Model model = runtime::Model::load(model_path(), options);
  RuntimeScorer scorer(model);
  const std::vector<Case> all = cases("documents", model.checkpoint().tokenizer());
  std::vector<eval::DocumentPlan> plans;
  plans.reserve(all.size());
  for (const Case& one : all) plans.push_back(eval::make_plan(one.requests, scorer.context()));
  const auto scores = eval::DocumentScorer(scorer, model.pool()).score(plans, 0, {});
  // Of a token's log-probability; f32 moves lm-eval's own by f64_gap.
  const double tolerance = std::max(5e-5, 4 * golden_.at("f64_gap").get<double>());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Case& one = all[i];
    SCOPED_TRACE(one.task->name + ", document " + std::to_string(one.index));
    std::vector<eval::ChoiceScore> choices = scores[i];
    for (std::size_t c = 0; c < choices.size(); ++c) {
      const Json& expected = one.expected->at("choices").at(c);
      choices[c].characters = eval::characters(one.document->choices[c]);
      EXPECT_NEAR(choices[c].loglikelihood, expected.at("loglikelihood").get<double>(),
                  tolerance * static_cast<double>(choices[c].tokens));
      EXPECT_EQ(choices[c].greedy, expected.at("greedy").get<bool>());
      EXPECT_EQ(choices[c].characters, expected.at("characters").get<std::int64_t>());
    }
    const eval::Sample sample =
        eval::judge(*one.task, one.index, one.document->target, choices, false);
    EXPECT_EQ(sample.target, one.expected->at("target").get<std::size_t>());
    EXPECT_EQ(sample.acc, one.expected->at("acc").get<double>());
    if (sample.acc_norm) {
      EXPECT_EQ(*sample.acc_norm, one.expected->at("acc_norm").get<double>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, LmEvalGolden,
                         ::testing::Values("piqa", "winogrande", "hellaswag", "boolq", "arc_easy",
                                           "arc_challenge", "mmlu"),
                         [](const auto& task) { return std::string(task.param); });

}  // namespace
}  // namespace onebit::cli
