// Prompts, few-shot examples and the means of groups against lm-eval's own, on rows that
// tools/golden/make_tasks.py invents: no model and no data set is needed. What needs them is in
// src/cli/lm_eval_golden_test.cc.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "eval/python_text.h"
#include "eval/requests.h"
#include "eval/task_data.h"
#include "eval/task_result.h"

namespace onebit::eval {
namespace {

using Json = nlohmann::json;
using Pairs = std::vector<std::pair<std::string, std::string>>;

Json golden(const char* name) { return Json::parse(read_file(testing::golden("tasks") / name)); }

std::string json_lines(const Json& rows) {
  std::string lines;
  for (const Json& row : rows) lines += row.dump() + '\n';
  return lines;
}

void write_set(const testing::TempDir& folder, const Split& split, const Json& rows) {
  write_file(folder / split.files.front(), json_lines(rows));
}

Pairs prompts_of(const Task& task, const Document& document, std::string_view before) {
  Pairs pairs;
  for (Prompt& prompt : make_prompts(task, document, before)) {
    pairs.emplace_back(std::move(prompt.context), std::move(prompt.continuation));
  }
  return pairs;
}

TEST(LmEval, PromptsOfInventedRows) {
  const Json file = golden("invented.json");
  for (const Json& one : file.at("cases")) {
    const auto shots = one.at("shots").get<int>();
    const auto name = one.at("task").get<std::string>();
    SCOPED_TRACE(name + ", shots " + std::to_string(shots));
    const Task* const task = find_task(name);
    ASSERT_NE(task, nullptr);
    const testing::TempDir folder;
    write_set(folder, task->examples, one.at("examples"));
    write_set(folder, task->splits.front(), one.at("rows"));
    const TaskData data = DataFolder(folder.path()).load(*task, {.limit = 0, .shots = shots});
    const Json& expected = one.at("documents");
    ASSERT_EQ(data.documents.size(), expected.size());
    Examples examples(data, file.at("seed").get<std::uint64_t>());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      SCOPED_TRACE("document " + std::to_string(i));
      const Document& document = data.documents[i];
      EXPECT_EQ(document.target, expected[i].at("target").get<std::size_t>());
      EXPECT_EQ(prompts_of(*task, document, examples.before(i)),
                expected[i].at("prompts").get<Pairs>());
      std::vector<std::int64_t> lengths;
      lengths.reserve(document.choices.size());
      for (const std::string& choice : document.choices) lengths.push_back(characters(choice));
      EXPECT_EQ(lengths, expected[i].at("characters").get<std::vector<std::int64_t>>());
    }
  }
}

/// The first `right` of `count` documents right, the others wrong.
TaskResult result_of(const Task& task, int right, int count) {
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    samples.push_back(
        {.task = task.name, .document = i, .choices = {{}}, .acc = i < right ? 1 : 0});
  }
  return summarize(task, samples);
}

void expect_same(const MetricValue& value, const Json& expected) {
  constexpr double kRounding = 1e-13;  // sums of up to 1,534 terms of at most 1, divided by as many
  EXPECT_NEAR(value.value, expected.at("acc,none").get<double>(), kRounding);
  ASSERT_TRUE(value.error.has_value());
  EXPECT_NEAR(*value.error, expected.at("acc_stderr,none").get<double>(), kRounding);
}

TEST(LmEval, MeansAndErrorsOfSubjectsAndGroups) {
  const Json file = golden("aggregation.json");
  const Json& expected = file.at("results");
  std::vector<TaskResult> results;
  for (const auto& [name, numbers] : file.at("subjects").items()) {
    SCOPED_TRACE(name);
    const Task* const task = find_task(name);
    ASSERT_NE(task, nullptr);
    results.push_back(result_of(*task, numbers.at(0).get<int>(), numbers.at(1).get<int>()));
    expect_same(results.back().metrics.at(0), expected.at(name));
  }
  EXPECT_EQ(results.size(), 57U);
  for (const char* name :
       {"mmlu", "mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"}) {
    SCOPED_TRACE(name);
    expect_same(summarize(*find_group(name), results).acc, expected.at(name));
  }
}

}  // namespace
}  // namespace onebit::eval
