#include "report/tables.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/test_records.h"

namespace onebit::report {
namespace {

using namespace ::onebit::report::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> headings(const Table& table) {
  std::vector<std::string> result;
  for (const Column& column : table.columns) result.push_back(column.name);
  return result;
}

/// The cell in the row of that heading and the first column of that name.
const Cell& cell(const Table& table, const std::string& row, const std::string& column) {
  for (const auto& cells : table.rows) {
    if (cells[0].text != row) continue;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (table.columns[c].name == column) return cells[c];
    }
  }
  throw std::out_of_range(row + ", " + column);
}

Json six_tasks(double acc) {
  Json tasks;
  for (const KnownTask& task : kZeroShotTasks) {
    tasks[task.id] = task_json(acc, 0.06);
    if (std::string_view(task.id) == "piqa") {
      tasks[task.id]["acc_norm,none"] = acc + 0.12;
      tasks[task.id]["acc_norm_stderr,none"] = 0.06;
    }
  }
  return tasks;
}

TEST(MainTable, IsThePapers) {
  Json tasks = six_tasks(0.5);
  tasks["mmlu"] = task_json(0.25);
  const Comparison comparison(records({perplexity_json(model_info('a', "one"), 20),
                                       eval_json(model_info('a', "one"), tasks),
                                       perplexity_json(model_info('b', "two"), 30),
                                       eval_json(model_info('b', "two"), six_tasks(0.4))}),
                              {});
  const Table table = main_table(comparison, {});
  EXPECT_THAT(headings(table),
              ElementsAre("model", "method", "bits", "wiki.raw", "WinoGrande", "HellaSwag", "PIQA",
                          "BoolQ", "ARC-e", "ARC-c", "average of 6", "MMLU"));
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_DOUBLE_EQ(*cell(table, "one", "PIQA").value, 62);  // acc_norm
  EXPECT_DOUBLE_EQ(*cell(table, "one", "BoolQ").value, 50);
  EXPECT_DOUBLE_EQ(*cell(table, "one", "average of 6").value, 52);
  EXPECT_DOUBLE_EQ(*cell(table, "one", "average of 6").error, std::sqrt(6.0));  // sqrt(6 * 6^2) / 6
  EXPECT_TRUE(cell(table, "one", "wiki.raw").best);
  EXPECT_FALSE(cell(table, "two", "wiki.raw").best);
  EXPECT_TRUE(cell(table, "one", "average of 6").best);
  EXPECT_FALSE(cell(table, "one", "MMLU").best);  // of one value
  EXPECT_THAT(table.remark, HasSubstr("acc_norm (likelihood per character) of PIQA"));
  const Table plain = main_table(comparison, {.accuracy = Accuracy::kAcc});
  EXPECT_DOUBLE_EQ(*cell(plain, "one", "PIQA").value, 50);
}

TEST(MainTable, WhatIsMeasuredOtherwiseIsNoted) {
  Json other_window = perplexity_json(model_info('b', "two"), 10);
  other_window["window"] = 500;
  const Comparison comparison(
      records(
          {perplexity_json(model_info('a', "one"), 20), other_window,
           perplexity_json(model_info('c', "three"), 30),
           eval_json(model_info('a', "one"), {{"piqa", task_json(0.5)}, {"boolq", task_json(0.5)}}),
           eval_json(model_info('b', "two"), {{"piqa", task_json(0.9)}, {"boolq", task_json(0.9)}},
                     0, 10),
           eval_json(model_info('c', "three"), {{"piqa", task_json(0.4)}})}),
      {});
  const Table table = main_table(comparison, {});
  EXPECT_FALSE(cell(table, "two", "wiki.raw").comparable);
  EXPECT_TRUE(cell(table, "one", "wiki.raw").best);  // the lower one is not compared
  EXPECT_THAT(table.notes, ::testing::Contains("measured otherwise: window 500 (others: 250)"));
  EXPECT_THAT(table.notes,
              ::testing::Contains("measured otherwise: documents 10 of 100 (others: 100)"));
  EXPECT_TRUE(cell(table, "one", "PIQA").best);
  EXPECT_FALSE(cell(table, "two", "average of 2").comparable);
  EXPECT_FALSE(cell(table, "three", "average of 2").value);  // it lacks one of the two
}

TEST(MainTable, TruncatedDocumentsAreSaid) {
  Json json = eval_json(model_info('a'), {{"boolq", task_json(0.5)}});
  json["onebit"]["truncated"]["boolq"] = 3;
  const Comparison comparison(records({json}), {});
  const Table table = main_table(comparison, {});
  ASSERT_EQ(table.notes.size(), 1U);
  EXPECT_THAT(table.notes[0], HasSubstr("3 documents were longer"));
}

TEST(MainTable, HasNoRowsWithoutResults) {
  const Comparison comparison(records({{{"model", "x"}, {"results", Json::array()}}}), {});
  EXPECT_TRUE(main_table(comparison, {}).rows.empty());
  EXPECT_TRUE(mmlu_table(comparison).rows.empty());
  EXPECT_TRUE(divergence_table(comparison).rows.empty());
  EXPECT_TRUE(tasks_table(comparison, false).rows.empty());
  EXPECT_TRUE(paired_table(comparison, {}).rows.empty());
  EXPECT_TRUE(matrices_table(comparison).rows.empty());
  EXPECT_TRUE(sensitivity_tables(comparison).empty());
  EXPECT_TRUE(runs_table(comparison).rows.empty());
  EXPECT_EQ(sources_table(comparison).rows.size(), 1U);
}

TEST(SizeTable, RatioToSixteenBits) {
  const Comparison comparison(records({perplexity_json(model_info('a'))}), {});
  const Table table = size_table(comparison);
  // 1,000,000 parameters are 2 MB at 16 bits, the file has 0.25 MB.
  EXPECT_DOUBLE_EQ(*table.rows[0][3].value, 0.25);
  EXPECT_DOUBLE_EQ(*table.rows[0][6].value, 2);
  EXPECT_DOUBLE_EQ(*table.rows[0][7].value, 8);
  EXPECT_DOUBLE_EQ(*table.rows[0][8].value, 12.5);
}

TEST(DivergenceTable, NotesAnotherTeacher) {
  const auto with_kl = [](char digit, double kl, const std::string& teacher) {
    Json json = perplexity_json(model_info(digit, std::string(1, digit)));
    json.update({{"kl_mean", kl}, {"kl_p99", 2 * kl}, {"same_top", 0.5}, {"teacher", teacher}});
    return json;
  };
  const Comparison comparison(
      records({with_kl('a', 0.5, "x/t.gguf"), with_kl('b', 0.25, "y/t.gguf"),
               with_kl('c', 0.1, "u.gguf")}),
      {});
  const Table table = divergence_table(comparison);
  EXPECT_TRUE(cell(table, "b", "mean").best);
  EXPECT_FALSE(cell(table, "c", "mean").comparable);
  EXPECT_EQ(cell(table, "b", "same top token, %").value, 50);
}

TEST(TasksTable, HasEveryMetricAndTheBestOfARow) {
  const Json tasks = {
      {"lambada_openai",
       {{"perplexity,none", 5.5}, {"perplexity_stderr,none", 0.1}, {"acc,none", 0.6}}},
      {"mmlu_virology", task_json(0.3)}};
  Json worse = tasks;
  worse["lambada_openai"]["perplexity,none"] = 9;
  const Comparison comparison(records({eval_json(model_info('a', "one"), tasks),
                                       eval_json(model_info('b', "two"), worse, 1)}),
                              {});
  const Table table = tasks_table(comparison, false);
  ASSERT_EQ(table.rows.size(), 2U);
  EXPECT_EQ(table.rows[0][0].text, "LAMBADA");
  EXPECT_EQ(table.rows[0][1].text, "perplexity");
  EXPECT_EQ(table.rows[0][2].text, "0, 1");  // shots
  EXPECT_EQ(table.rows[0][5].value, 5.5);
  EXPECT_EQ(table.rows[1][1].text, "acc, %");
  EXPECT_EQ(table.rows[1][5].value, 60);
  EXPECT_FALSE(table.rows[0][6].comparable);  // another number of shots
  const Table subjects = tasks_table(comparison, true);
  ASSERT_EQ(subjects.rows.size(), 1U);
  EXPECT_TRUE(subjects.folded);
}

EvalRecord sampled(char digit, const std::map<std::string, std::vector<int>>& right) {
  Json tasks;
  std::string lines;
  for (const auto& [task, scores] : right) {
    double sum = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      sum += scores[i];
      lines += fmt::format("{{\"task\":\"{}\",\"doc_id\":{},\"acc\":{}}}\n", task, i, scores[i]);
    }
    tasks[task] = task_json(sum / static_cast<double>(scores.size()));
  }
  auto eval =
      std::get<EvalRecord>(record(eval_json(model_info(digit, std::string(1, digit)), tasks)));
  eval.samples = parse_samples(lines, "s.jsonl");
  return eval;
}

TEST(PairedTable, OfEachTaskToTheBase) {
  const Comparison comparison(
      {sampled('a', {{"piqa", {1, 0, 1, 0}}}), sampled('b', {{"piqa", {1, 1, 1, 0}}})}, {});
  Table table = paired_table(comparison, {});
  ASSERT_EQ(table.rows.size(), 1U);
  EXPECT_EQ(table.rows[0][0].text, "b");
  EXPECT_EQ(table.rows[0][1].text, "PIQA (acc)");
  EXPECT_EQ(table.rows[0][2].value, 4);
  EXPECT_EQ(table.rows[0][3].value, 25);
  EXPECT_EQ(table.rows[0][3].error, 25);
  EXPECT_EQ(table.rows[0][6].value, 1);
  EXPECT_EQ(table.rows[0][7].value, 0);
  table = paired_table(comparison, {.base = 1});
  EXPECT_EQ(table.rows[0][0].text, "a");
  EXPECT_EQ(table.rows[0][3].value, -25);
  EXPECT_THAT(table.caption, HasSubstr("to b"));
}

TEST(PairedTable, AveragesTheSixAndPoolsGroups) {
  std::map<std::string, std::vector<int>> base;
  std::map<std::string, std::vector<int>> model;
  for (const KnownTask& task : kZeroShotTasks) {
    base[task.id] = {0, 1, 0, 1};
    model[task.id] = {1, 1, 0, 1};
  }
  for (const char* subject : {"mmlu_virology", "mmlu_anatomy"}) {
    base[subject] = {1, 1};
    model[subject] = {1, 0};
  }
  EvalRecord one = sampled('a', base);
  EvalRecord two = sampled('b', model);
  for (EvalRecord* eval : {&one, &two}) {
    eval->tasks.push_back({.task = "mmlu",
                           .scores = {{"acc", {0.5}}},
                           .subtasks = {"mmlu_virology", "mmlu_anatomy", "mmlu"}});
  }
  const Comparison comparison({one, two}, {});
  const Table table = paired_table(comparison, {});
  ASSERT_EQ(table.rows.size(), 8U);
  EXPECT_EQ(table.rows[6][1].text, "MMLU (acc)");
  EXPECT_EQ(table.rows[6][2].value, 4);
  EXPECT_EQ(table.rows[6][3].value, -50);
  EXPECT_EQ(table.rows[7][1].text, "average of the six");
  EXPECT_EQ(table.rows[7][3].value, 25);
  EXPECT_NEAR(*table.rows[7][3].error, 25 / std::sqrt(6.0), 1e-12);
}

TEST(SpeedTable, IsByTestAndThreads) {
  const auto bench = [](const std::string& path, double rate, const std::string& activations) {
    Json json = {{"model", path},
                 {"activations", activations},
                 {"peak_bytes", 5000000},
                 {"results", Json::array()}};
    for (const int threads : {1, 2}) {
      json["results"].push_back({{"test", "tg8"},
                                 {"threads", threads},
                                 {"tokens_per_second", rate * threads},
                                 {"deviation", 1}});
    }
    return json;
  };
  const Comparison comparison(
      records({bench("a", 10, "i8"), bench("b", 20, "i8"), bench("c", 30, "f32")}), {});
  const Table table = speed_table(comparison);
  EXPECT_THAT(headings(table), ElementsAre("model", "kernels", "tg8", "tg8", "peak memory, MB"));
  EXPECT_EQ(table.columns[2].group, "1 thread");
  EXPECT_EQ(table.columns[3].group, "2 threads");
  EXPECT_EQ(table.rows[1][3].value, 40);
  EXPECT_TRUE(table.rows[1][3].best);
  EXPECT_FALSE(table.rows[2][3].comparable);
}

TrainingRun run(const std::string& folder, const std::string& init, double last,
                double tokens = 100) {
  TrainingRun result{.origin = {.file = folder}, .recipe = {{"init", init}, {"seed", "0"}}};
  result.rows.push_back({.step = 0, .metrics = {{"held_out_kl", 5}, {"held_out_tokens", tokens}}});
  result.rows.push_back(
      {.step = 10,
       .metrics = {
           {"held_out_kl", last}, {"held_out_cross_entropy", 1}, {"held_out_tokens", tokens}}});
  return result;
}

TEST(RunsTable, ShowsWhereRunsDiffer) {
  const Comparison comparison({run("a", "nmf", 1), run("b", "svd", 2), run("c", "copy", 0.5, 7)},
                              {{"b", "mine"}});
  const Table table = runs_table(comparison);
  EXPECT_THAT(headings(table), ElementsAre("run", "init", "steps", "at start", "at the end",
                                           "at the end", "of the teacher"));
  EXPECT_EQ(table.rows[1][0].text, "mine");
  EXPECT_EQ(table.rows[1][1].text, "svd");
  EXPECT_EQ(table.rows[0][2].value, 10);
  EXPECT_EQ(table.rows[0][3].value, 5);
  EXPECT_TRUE(table.rows[0][4].best);  // the third is judged on another text
  EXPECT_FALSE(table.rows[2][4].comparable);
  EXPECT_DOUBLE_EQ(*table.rows[0][5].value, std::exp(1));
}

Json sensitivity_json() {
  Json json = {{"model", "x"}, {"file", "w/t.raw"}, {"rows", Json::array()}};
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* role : {"attn_q", "ffn_up"}) {
      json["rows"].push_back({{"matrix", fmt::format("blk.{}.{}", layer, role)},
                              {"method", "onebit"},
                              {"bits", 1.02 + 0.02 * layer},
                              {"kl_mean", 0.1 * (layer + 1)},
                              {"relative_error", 0.4}});
      json["rows"].push_back({{"matrix", fmt::format("blk.{}.{}", layer, role)},
                              {"method", "rtn"},
                              {"bits", 4.1},
                              {"kl_mean", 0.01}});
    }
  }
  return json;
}

TEST(SensitivityTables, GroupByMethodAndBits) {
  const Comparison comparison(records({sensitivity_json()}), {});
  const std::vector<Table> tables = sensitivity_tables(comparison);
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_THAT(headings(tables[0]), ElementsAre("matrices", "onebit, 1.03 bits", "rtn, 4.10 bits"));
  ASSERT_EQ(tables[0].rows.size(), 2U);
  EXPECT_NEAR(*tables[0].rows[0][1].value, 0.15, 1e-12);
  ASSERT_EQ(tables[1].rows.size(), 4U);
  EXPECT_NEAR(*cell(tables[1], "blk.1.ffn_up", "onebit, 1.03 bits").value, 0.2, 1e-12);
}

TEST(SensitivityTables, GroupBySettingWhereThereIsOne) {
  Json json = sensitivity_json();
  for (std::size_t i = 0; i < json["rows"].size(); ++i) {
    json["rows"][i]["method"] = "onebit";
    json["rows"][i]["bits"] = 1.05;
    json["rows"][i]["setting"] = i % 2;
  }
  const Comparison comparison(records({json}), {});
  EXPECT_THAT(headings(sensitivity_tables(comparison)[0]),
              ElementsAre("matrices", "onebit, 1.05 bits", "onebit, 1.05 bits (2)"));
}

TEST(MatricesTable, ModelsSideBySide) {
  const auto quantize = [](const std::string& out, double error) -> Json {
    return {{"output", out},
            {"method", "onebit"},
            {"totals", {{"relative_error", error}}},
            {"matrices",
             {{{"name", "blk.0.attn_q"}, {"relative_error", error}, {"bits_per_weight", 1}}}}};
  };
  const Comparison comparison(records({quantize("a.gguf", 0.5), quantize("b.gguf", 0.25)}), {});
  const Table table = matrices_table(comparison);
  ASSERT_EQ(table.rows.size(), 1U);
  EXPECT_FALSE(table.rows[0][1].best);
  EXPECT_TRUE(table.rows[0][2].best);
}

TEST(SourcesTable, SaysWhatMadeEachNumber) {
  const Comparison comparison(
      records({eval_json(model_info('a', "one"), {{"piqa", task_json(0.5)}})}), {});
  const Table table = sources_table(comparison);
  std::vector<std::string> texts;
  for (const Cell& c : table.rows[0]) texts.push_back(c.text);
  EXPECT_THAT(texts, ElementsAre("1.json", "tasks", "one", "onebit 0.1.0", "2025-03-02 23:52",
                                 "aaaaaaaaaaaa", "", "onebit eval x"));
}

}  // namespace
}  // namespace onebit::report
