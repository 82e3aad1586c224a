#include "report/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "report/test_records.h"

namespace onebit::report {
namespace {

using namespace ::onebit::report::testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

template <class Kind>
Kind read(const Json& json) {
  return std::get<Kind>(record(json));
}

TEST(ParseRecord, Perplexity) {
  Json json = perplexity_json(model_info('a'));
  json.update({{"kl_mean", 0.5},
               {"kl_stderr", 0.01},
               {"kl_p99", 3},
               {"same_top", 0.75},
               {"teacher", "t.gguf"}});
  const auto found = read<PerplexityRecord>(json);
  EXPECT_EQ(found.model.sha256, std::string(64, 'a'));
  EXPECT_EQ(found.model.file_bytes, 250000);
  EXPECT_EQ(found.ppl.value, 20);
  EXPECT_EQ(found.ppl.error, 0.5);
  EXPECT_EQ(found.text, "a/wiki.raw");
  EXPECT_THAT(found.settings, ElementsAre(Pair("protocol", "paper"), Pair("tokens", "1000"),
                                          Pair("window", "250"), Pair("windows", "4")));
  EXPECT_EQ(found.kl->mean.value, 0.5);
  EXPECT_EQ(found.kl->same_top, 0.75);
  EXPECT_EQ(found.origin.program, "onebit 0.1.0");
}

TEST(ParseRecord, PerplexityWithoutModelInfo) {
  Json json = perplexity_json(nullptr);
  json.erase("model_info");
  const auto found = read<PerplexityRecord>(json);
  EXPECT_EQ(found.model.path, "models/x.gguf");
  EXPECT_EQ(found.model.name, "x");
  EXPECT_FALSE(found.kl);
}

TEST(ParseRecord, EvalOfOurs) {
  Json json = eval_json(model_info('a'),
                        {{"piqa",
                          {{"acc,none", 0.5},
                           {"acc_stderr,none", "N/A"},
                           {"acc_norm,none", 0.625},
                           {"acc_norm_stderr,none", 0.01},
                           {"alias", "piqa"},
                           {"sample_len", 100}}}},
                        0, 50);
  json["onebit"]["activations"] = "i8";
  json["onebit"]["truncated"] = {{"piqa", 2}};
  const auto found = read<EvalRecord>(json);
  ASSERT_EQ(found.tasks.size(), 1U);
  const TaskScore& task = found.tasks[0];
  ASSERT_EQ(task.scores.size(), 2U);  // the count of documents is no metric
  EXPECT_EQ(task.find("acc")->value, 0.5);
  EXPECT_FALSE(task.find("acc")->error);
  EXPECT_EQ(task.find("acc_norm")->error, 0.01);
  EXPECT_EQ(task.documents, 50);
  EXPECT_EQ(task.truncated, 2);
  EXPECT_THAT(task.settings, ElementsAre(Pair("activations", "i8"), Pair("documents", "50 of 100"),
                                         Pair("shots", "0"), Pair("split", "validation")));
  EXPECT_EQ(found.origin.date, 1740959572);
  EXPECT_EQ(found.origin.command, "onebit eval x");
}

TEST(ParseRecord, EvalOfLmEval) {
  const Json json = {
      {"results",
       {{"gsm8k",
         {{"exact_match,strict-match", 0.25}, {"exact_match_stderr,strict-match", 0.02}}}}},
      {"configs", {{"gsm8k", {{"test_split", "test"}, {"validation_split", "val"}}}}},
      {"versions", {{"gsm8k", 3.0}}},
      {"n-shot", {{"gsm8k", 5}}},
      {"lm_eval_version", "0.4.9"},
      {"config",
       {{"model", "hf"}, {"model_args", "dtype=float,pretrained=org/name,parallelize=True"}}}};
  const auto found = read<EvalRecord>(json);
  EXPECT_EQ(found.model.name, "org/name");
  EXPECT_EQ(found.origin.program, "lm-eval 0.4.9");
  EXPECT_EQ(found.tasks[0].find("exact_match (strict-match)")->error, 0.02);
  EXPECT_THAT(found.tasks[0].settings,
              ElementsAre(Pair("shots", "5"), Pair("split", "test"), Pair("version", "3")));
}

TEST(ParseRecord, EvalOfOldLmEval) {
  const Json json = {{"results", {{"piqa", {{"acc", 0.78}, {"acc_stderr", 0.0096}}}}},
                     {"config", {{"model_args", "pretrained=llama"}}}};
  const auto found = read<EvalRecord>(json);
  EXPECT_EQ(found.tasks[0].find("acc")->error, 0.0096);
}

TEST(ParseRecord, GroupsHaveTheSettingsOfTheirTasks) {
  Json json = eval_json(model_info('a'),
                        {{"mmlu", task_json(0.4)},
                         {"mmlu_stem", task_json(0.4)},
                         {"mmlu_virology", task_json(0.4)},
                         {"mmlu_astronomy", task_json(0.4)}},
                        5, 15);
  json["group_subtasks"] = {{"mmlu", {"mmlu_stem", "mmlu_virology"}},
                            {"mmlu_stem", {"mmlu_astronomy", "mmlu"}}};
  const auto found = read<EvalRecord>(json);
  EXPECT_EQ(found.tasks[0].documents, 30);
  EXPECT_EQ(found.tasks[0].settings.at("documents"), "30 of 200");
  EXPECT_EQ(found.tasks[0].settings.at("shots"), "5");
  EXPECT_EQ(found.tasks[1].settings.at("split"), "validation");
}

TEST(ParseRecord, BenchSensitivityQuantize) {
  const auto bench = read<BenchRecord>(
      {{"model", "m/x.gguf"},
       {"file_bytes", 7},
       {"kernels", "avx2"},
       {"peak_bytes", 9},
       {"results",
        {{{"test", "pp512"}, {"threads", 2}, {"tokens_per_second", 10.5}, {"deviation", 0.5}}}}});
  EXPECT_EQ(bench.model.path, "m/x.gguf");
  EXPECT_EQ(bench.model.file_bytes, 7);
  EXPECT_EQ(bench.tests[0].rate, 10.5);
  EXPECT_EQ(bench.tests[0].deviation, 0.5);

  const auto sensitivity = read<SensitivityRecord>(
      {{"model", "x"},
       {"file", "w.raw"},
       {"baseline", {{"ppl", 20}}},
       {"rows",
        {{{"matrix", "blk.3.attn_q"}, {"method", "onebit"}, {"bits", 1.02}, {"kl_mean", 0.5}}}}});
  EXPECT_EQ(sensitivity.rows[0].layer, 3);
  EXPECT_EQ(sensitivity.rows[0].role, "attn_q");
  EXPECT_EQ(sensitivity.ppl, 20);

  const auto quantize = read<QuantizeRecord>(
      {{"model", "t.gguf"},
       {"output", "o/s.gguf"},
       {"method", "onebit"},
       {"init", "svd"},
       {"matrices", {{{"name", "output"}, {"relative_error", 0.4}, {"bits_per_weight", 1.1}}}},
       {"totals", {{"relative_error", 0.4}, {"bits_per_weight", 1.1}, {"file_bytes", 5}}}});
  EXPECT_EQ(quantize.model.path, "o/s.gguf");
  EXPECT_EQ(quantize.matrices[0].layer, -1);
  EXPECT_EQ(quantize.settings.at("init"), "svd");
}

TEST(ParseRecord, WhatIsNoResultIsSaidInOneLine) {
  const auto says = [](const std::string& text) {
    return message_of([&] { parse_record(text, "f.json"); });
  };
  EXPECT_THAT(says(""), AllOf(HasSubstr("f.json: found an empty file"), HasSubstr("onebit eval")));
  EXPECT_THAT(says("hello"), HasSubstr("found text that is not JSON"));
  EXPECT_THAT(says("{\"a\": 1"), HasSubstr("found text that is not JSON"));
  EXPECT_THAT(says("[1]"), HasSubstr("found an array"));
  EXPECT_THAT(says("{}"), HasSubstr("found an empty object"));
  EXPECT_THAT(says("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}"),
              HasSubstr("members a, b, c, d, …"));
  EXPECT_THAT(says("{\"header\":{}}\n{\"task\":\"piqa\"}"), HasSubstr("found samples"));
  EXPECT_THAT(says("{\"step\":1}\n{\"step\":2}"), HasSubstr("the run's folder"));
  EXPECT_THAT(says("\xff\xfe"), HasSubstr("not JSON"));
}

TEST(ParseRecord, WhatIsWrongInAResultIsNamed) {
  const auto says = [](const Json& json) { return message_of([&] { record(json, "f.json"); }); };
  Json json = perplexity_json(model_info('a'));
  json["ppl"] = "20";
  EXPECT_EQ(says(json), "f.json: ppl: found string, expected a number");
  json = perplexity_json(model_info('a'));
  json.erase("file");
  EXPECT_EQ(says(json), "f.json: file: found nothing, expected a string");
  json = perplexity_json(model_info('a'));
  json["model_info"]["file_bytes"] = -1;
  EXPECT_EQ(says(json), "f.json: model_info.file_bytes: found number, expected a whole number");
  json["model_info"]["file_bytes"] = 1e300;
  EXPECT_THAT(says(json), HasSubstr("whole number"));
  json["model_info"] = 5;
  EXPECT_EQ(says(json), "f.json: model_info: found number, expected an object");
  EXPECT_EQ(says({{"results", Json::object()}}),
            "f.json: results: found object, expected at least one task");
  EXPECT_EQ(says({{"results", {{"piqa", 1}}}}),
            "f.json: results.piqa: found number, expected an object");
  EXPECT_THAT(says({{"results", {{"piqa", task_json(1)}}}}), HasSubstr("config.model_args"));
  EXPECT_EQ(says({{"results", {1}}}), "f.json: results[0]: found number, expected an object");
  json = {{"rows", {{{"matrix", "m"}, {"method", "x"}, {"bits", 1}, {"kl_mean", nullptr}}}}};
  EXPECT_EQ(says(json), "f.json: rows[0].kl_mean: found nothing, expected a number");
}

TEST(ParseSamples, ByTaskAndDocument) {
  const auto found = parse_samples(
      "{\"header\": {}}\n"
      "{\"task\":\"piqa\",\"doc_id\":7,\"target\":1,\"choices\":[{},{}],\"acc\":1.0,\"acc_norm\":0."
      "0}\n"
      "\n"
      "{\"task\":\"lambada\",\"doc_id\":0,\"target\":\"word\",\"choices\":[{}],\"acc\":0}",
      "s.jsonl");
  ASSERT_EQ(found.size(), 2U);
  const Sample& sample = found.at("piqa").at(7);
  EXPECT_EQ(sample.target, "1");
  EXPECT_EQ(sample.choices, 2U);
  EXPECT_EQ(sample.scores.at("acc"), 1);
  EXPECT_EQ(found.at("lambada").at(0).scores.count("acc_norm"), 0U);
}

TEST(ParseSamples, NamesTheLine) {
  const auto says = [](const std::string& text) {
    return message_of([&] { parse_samples(text, "s.jsonl"); });
  };
  const std::string good = "{\"task\":\"piqa\",\"doc_id\":7,\"acc\":1.0}\n";
  EXPECT_THAT(says(good + "oops"), HasSubstr("s.jsonl, line 2: found text that is not JSON"));
  EXPECT_THAT(says(good + good), HasSubstr("s.jsonl, line 2: found document 7 again"));
  EXPECT_THAT(says("{\"task\":\"piqa\"}"), HasSubstr("s.jsonl, line 1: doc_id: found nothing"));
  EXPECT_THAT(says("{\"task\":3,\"doc_id\":1}"), HasSubstr("line 1: task"));
  EXPECT_THAT(says("[]"), HasSubstr("line 1: found array"));
}

TEST(ParseMetrics, SkipsALineThatIsNotFinished) {
  const auto rows = parse_metrics(
      "{\"step\":0,\"block\":2,\"block_error\":0.5}\n{\"step\":1,\"loss\":2,\"note\":\"x\"}\n"
      "{\"block\":1e300,\"step\":2}\n{\"step\":3,\"lo");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].block, 2);
  EXPECT_EQ(rows[1].metrics.at("loss"), 2);
  EXPECT_FALSE(rows[2].block);
}

TEST(ReadInput, FilesFoldersAndSamplesBesideThem) {
  const onebit::testing::TempDir folder;
  EXPECT_THAT(message_of([&] { read_input(folder / "none.json"); }), HasSubstr("none.json"));
  EXPECT_THAT(message_of([&] { read_input(folder.path()); }),
              HasSubstr("metrics.jsonl: found no such file"));

  Json json = eval_json(model_info('a'), {{"piqa", task_json(1)}});
  json["onebit"]["samples"] = "elsewhere/r.samples.jsonl";  // as it was called when it was written
  write_file(folder / "r.json", json.dump());
  write_file(folder / "r.samples.jsonl", "{\"task\":\"piqa\",\"doc_id\":1,\"acc\":1.0}\n");
  const auto eval = std::get<EvalRecord>(read_input(folder / "r.json"));
  EXPECT_EQ(eval.samples.at("piqa").size(), 1U);

  std::filesystem::create_directory(folder / "run");
  write_file(folder / "run/metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
  write_file(folder / "run/recipe.json", "{\"init\":\"nmf\",\"lr\":0.003,\"train_norms\":false}");
  const auto run = std::get<TrainingRun>(read_input(folder / "run"));
  EXPECT_EQ(run.rows.size(), 1U);
  EXPECT_THAT(run.recipe,
              ElementsAre(Pair("init", "nmf"), Pair("lr", "0.003"), Pair("train_norms", "no")));
  write_file(folder / "run/recipe.json", "{");
  EXPECT_THAT(message_of([&] { read_input(folder / "run"); }),
              HasSubstr("recipe.json: found text that is not JSON"));
}

TEST(LayerAndRole, OfNames) {
  EXPECT_EQ(layer_and_role("blk.12.ffn_up"), (std::pair<std::int64_t, std::string>{12, "ffn_up"}));
  for (const char* name :
       {"output", "blk.", "blk.x.y", "blk.-1.a", "blk.7", "blk.99999999999999999999.a"}) {
    EXPECT_EQ(layer_and_role(name), (std::pair<std::int64_t, std::string>{-1, name}));
  }
}

}  // namespace
}  // namespace onebit::report
